"""What is left after a fault: each is tried on a small training, and then `dvc repro` is typed once more.

python -m benchmarks.faults --seeds 3            every fault at three random moments, as a table; an hour
python -m benchmarks.faults --only "run worker"  those whose door or name holds these words
python -m benchmarks.faults --json               the same as data

A trial survives where 10 s later no process is left, where the training goes on from what was last saved, and where it
ends in the bytes and the `dvc.lock` of an unbroken one, after which there is nothing to do. Ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults import confined
from benchmarks.faults.scene import Scene
from benchmarks.faults.strikes import FAULTS
from benchmarks.faults.trial import Fault, Outcome, tried


def main() -> None:
    """Try and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="moments for each fault")
    parser.add_argument("--only", default="", help="words of a door or a fault")
    parser.add_argument("--json", action="store_true", help="print data")
    told = parser.parse_args()
    some = [fault for fault in FAULTS if told.only in f"{fault.door}: {fault.name}"]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        outcomes = list(outcomes_of(some, range(1, told.seeds + 1), Path(folder)))
    print(json.dumps([asdict(one) for one in outcomes], indent=1) if told.json else "\n".join(table(outcomes)))
    sys.exit(not all(one.survived for one in outcomes))


def outcomes_of(some: list[Fault], seeds: range, folder: Path) -> Iterator[Outcome]:
    """Each of `some` at as many moments as there are seeds; what it came to is also said on the way."""
    scene = Scene.make(folder)
    for number, (fault, seed) in enumerate((fault, seed) for fault in some for seed in seeds):
        place = folder / f"trial-{number}"
        place.mkdir()
        if fault.confined and not confined.is_possible(place):
            print(f"{fault.name}: left out, no file system can be mounted here", file=sys.stderr)
            continue
        outcome = (
            confined.run(fault, seed, scene, place) if fault.confined else tried(fault, seed, scene, place / "project")
        )
        how = "survived" if outcome.survived else f"FAILED: {'; '.join(outcome.wrong)}"
        print(f"{fault.door}: {fault.name}, {seed}: {how}, {outcome.seconds:.0f} s", file=sys.stderr, flush=True)
        yield outcome


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """In Markdown: a row for each fault, and the sums."""
    yield from ("| door | fault | tried | struck in time | mended first | survived |", "|---|---|---:|---:|---:|---:|")
    for door, name in dict.fromkeys((one.door, one.name) for one in outcomes):
        yield _row(door, name, [one for one in outcomes if (one.door, one.name) == (door, name)])
    yield _row("all", "", outcomes)


def _row(door: str, name: str, some: list[Outcome]) -> str:
    counts = [len(some), *(sum(getattr(one, fact) for one in some) for fact in ("in_time", "mended", "survived"))]
    return f"| {' | '.join([door, name, *map(str, counts)])} |"


if __name__ == "__main__":
    main()
