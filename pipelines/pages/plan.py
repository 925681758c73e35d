"""What `dvc repro` finds out of date and why, by key with both values, and how long making it took the last time.

The whole of params.yaml is validated first. Nothing is run, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from pipelines import parameters, record, standing, wording, work
from pipelines.standing import Standing

_USUAL_SECONDS = {
    "design": 6,
    "corpus": 4,
    "tokenizer": 3,
    "shards": 3,
    "dialogues": 5,
    "pretrain": 180,
    "finetune": 45,
    "evaluate": 40,
}
"""The parameters that this project comes with, on two processor cores: what a first run is told."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """As text, or as data."""
    parser.add_argument("--json", action="store_true", help="as data: a list of {stage, action, why, seconds}")


def show(told: argparse.Namespace) -> None:
    """Print the plan for what stands here."""
    found = standing.survey(parameters.read())
    if told.json:
        print(json.dumps([entry(item) for item in found], indent=1))
    else:
        print("\n".join(page(found)))


def page(found: list[Standing]) -> list[str]:
    """The plan as lines; one line where there is nothing to do."""
    if all(item.is_current for item in found):
        return ["params.yaml is sound, and everything is up to date."]
    entries = [entry(item) for item in found]
    if all(item.causes == standing.NEVER for item in found):
        return [f"params.yaml is sound. Nothing was made yet. {_altogether(entries)} `dvc repro` makes it."]
    lines = ["params.yaml is sound. Out of date:", ""]
    for item in entries:
        if item["action"] != "unchanged":
            took = wording.duration(item["seconds"]) if item["seconds"] else ""
            lines += wording.entry(f"{item['stage']:<12}{took:<12}", record.some(item["why"]), at=26, indent=2)
    return [*lines, "", f"{_altogether(entries)} `dvc repro` makes it."]


def entry(item: Standing) -> dict[str, Any]:
    """One stage as data. `seconds`: what its last run took, None where nobody knows."""
    why = list(item.causes)
    if item.after:
        why.append(f"after {wording.listed(item.after)}, unless the same bytes come out")
    if not item.is_here and not item.causes:
        why.insert(0, "its result is not here (restored, where DVC's cache has it)")
    action = "unchanged" if item.is_current else "run" if item.causes or not item.is_here else "run unless"
    return {"stage": item.stage.name, "action": action, "why": why, "seconds": seconds(item.stage.name)}


def seconds(stage: str) -> float | None:
    """How long the longest unbroken run of `stage` took on this machine."""
    known = [float(run["seconds"]) for run in timings().get(stage, {}).values() if not run.get("resumed")]
    return max(known, default=None)


def timings() -> dict[str, dict[str, dict[str, Any]]]:
    """What the stages took on this machine: stage -> identity of the work -> seconds, and whether it was resumed."""
    try:
        known: dict[str, dict[str, dict[str, Any]]] = json.loads(work.TIMINGS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known


def _altogether(entries: list[dict[str, Any]]) -> str:
    """How long all of it may take, from what it took before; for what never ran here, from what it takes elsewhere."""
    waiting = [item for item in entries if item["action"] != "unchanged"]
    total = sum(item["seconds"] or _USUAL_SECONDS[item["stage"]] for item in waiting)
    about = wording.duration(max(10, round(total / 10) * 10))
    if all(item["seconds"] for item in waiting):
        return f"About {about} altogether, as the last time."
    return f"About {about} altogether on two cores, with the parameters that this project comes with."
