"""What is broken here, each in a sentence, and with --fix the mending of it.

Looks at the interpreter, at git, at dvc's own files and cache, and at what MLflow keeps. Without --fix nothing is
touched. Ends with 1 while something is broken.
"""

from __future__ import annotations

import argparse

from lmmodel.params.refusal import Refusal
from pipelines import ailments, paths, wording
from pipelines.ailments import Ailment


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whether to mend, and how deep to look."""
    parser.add_argument("--fix", action="store_true", help="mend what can be mended")
    parser.add_argument(
        "--deep", action="store_true", help="read all of DVC's cache, not only the objects that dvc.lock names"
    )


def show(told: argparse.Namespace) -> None:
    """Print what is found as it is found; ends the process with 1 where something stays broken."""
    if not paths.GRAPH.is_file():
        raise Refusal(f"{paths.GRAPH}: is not here; the doctor looks at the project in the folder where it is called")
    found = broken = 0
    for ailment in ailments.examine(deep=told.deep):
        found += 1
        if told.fix and ailment.mend:
            _print(ailment, "mended:", ailment.mend() or ailment.remedy)
        else:
            broken += not ailment.harmless
            _print(ailment, "--fix" if ailment.mend else "remedy:", ailment.remedy)
    print(_verdict(found, broken, fix=told.fix))
    if broken:
        raise SystemExit(1)


def _print(ailment: Ailment, head: str, text: str) -> None:
    mark = "-" if ailment.harmless else "!"
    lines = [*wording.entry(mark, ailment.text, at=3), *wording.entry(head, text, at=12, indent=3)]
    print("\n".join(lines), flush=True)


def _verdict(found: int, broken: int, *, fix: bool) -> str:
    if not found:
        return "All is sound."
    if not broken:
        return "Nothing else is broken." if fix else "Nothing is broken."
    return f"{wording.several(broken, 'thing')} {'is' if broken == 1 else 'are'} broken."
