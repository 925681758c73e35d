"""Asset checks that read what a stage wrote.

A check is a function without arguments whose name and docstring are shown; it gives its `Finding`. It runs after its
asset, in the same run, and may read large files: nothing of it happens when definitions are loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Finding:
    """What was wrong, one line each, nothing if all is well; and the figures that show it."""

    problems: list[str] = field(default_factory=list)
    figures: Mapping[str, Any] = field(default_factory=dict)


def check(
    asset: str | dg.AssetKey, examine: Callable[[], Finding], *, blocking: bool = False
) -> dg.AssetChecksDefinition:
    """`examine` as a check of `asset`; a `blocking` one that fails keeps what comes after the asset from running."""

    @dg.asset_check(asset=asset, name=examine.__name__, description=examine.__doc__, blocking=blocking)
    def run_check() -> dg.AssetCheckResult:
        finding = examine()
        rest = len(finding.problems) - SHOWN_PROBLEMS
        told = finding.problems[:SHOWN_PROBLEMS] + ([f"and {rest} more"] if rest > 0 else [])
        return dg.AssetCheckResult(
            passed=not finding.problems, description="\n".join(told) or None, metadata=dict(finding.figures)
        )

    return run_check
