"""How long the pipeline takes on this machine: whole, with nothing to do, and until Dagster has its definitions.

python -m benchmarks.pipeline            a clone in a temporary folder, from nothing to everything
python -m benchmarks.pipeline --quick    without the whole run: what is asked of an up-to-date checkout
python -m benchmarks.pipeline --json     the same as data
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


def seconds(*command: str, folder: Path) -> float:
    """Wall-clock seconds of a command that must succeed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def median(*command: str, folder: Path) -> float:
    """The median of a few repetitions, the first one left out: it fills the file cache."""
    seconds(*command, folder=folder)
    return statistics.median(seconds(*command, folder=folder) for _ in range(REPEATS))


def whole(folder: Path) -> dict[str, Any]:
    """Seconds of a first `dvc repro` in a fresh clone, in all and by stage."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    # A lock without its cache: what a fresh clone of the reference run has.
    total = seconds("dvc", "repro", "--force", folder=folder)
    timings = json.loads((folder / ".lmmodel" / "timings.json").read_text())
    return {"dvc repro, everything": total, "stages": timings}


def idle(folder: Path) -> dict[str, float]:
    """Seconds of what a person asks for again and again where everything is up to date."""
    definitions = [sys.executable, "-c", "import pipelines.definitions"]
    return {
        "dvc repro, nothing to do": median("dvc", "repro", folder=folder),
        "import pipelines.definitions": median(*definitions, folder=folder),
        "lmmodel kinds": median("lmmodel", "kinds", folder=folder),
        "lmmodel report": median("lmmodel", "report", folder=folder),
        "lmmodel design": median("lmmodel", "design", folder=folder),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the whole run")
    parser.add_argument("--json", action="store_true", help="print data")
    told = parser.parse_args()
    if told.quick:
        measured: dict[str, Any] = idle(ROOT)
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "clone"
            measured = {**whole(folder), **idle(folder)}
    measured["cores"] = os.cpu_count()
    if told.json:
        print(json.dumps(measured, indent=1))
        return
    for what, value in measured.items():
        print(f"{what:32} {value if not isinstance(value, float) else f'{value:.2f} s'}")


if __name__ == "__main__":
    main()
