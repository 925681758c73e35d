"""How long the stages took on this machine: noted beside the outputs, which never say."""

from __future__ import annotations

import json
from typing import Any

from pipelines import work


def known() -> dict[str, dict[str, dict[str, Any]]]:
    """Stage -> identity of the work -> seconds, whether it was resumed, and when it ended, in seconds since 1970."""
    try:
        noted: dict[str, dict[str, dict[str, Any]]] = json.loads(work.TIMINGS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted


def last(stage: str) -> float | None:
    """The seconds that the last unbroken run of `stage` took; None where nobody knows."""
    unbroken = [run for run in known().get(stage, {}).values() if not run.get("resumed")]
    latest = max(unbroken, key=lambda run: run.get("ended", 0), default=None)
    return float(latest["seconds"]) if latest else None
