"""One thing that is broken, as the doctor tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ailment:
    """One thing that is not as it should be.

    text: what is the matter and what comes of it. remedy: what `mend` does; where that is None, what a person can do.
    `mend` gives what is left to be said afterwards. harmless: it costs room, and breaks nothing.
    """

    text: str
    remedy: str
    mend: Callable[[], str] | None = None
    harmless: bool = False
