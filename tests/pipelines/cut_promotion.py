"""A finished stage handed over, cut off at each of its file operations: `cut_promotion.py FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lmmodel import folder
from pipelines import paths
from pipelines.scratch import Scratch
from tests.power_cut import cuts

STAGE = paths.Stage(
    name="pretrain",
    description="",
    output=Path("models/pretrain"),
    metrics=Path("models/pretrain.json"),
    curve=Path("models/pretrain.csv"),
    inputs={},
    plan=Path("models/design/pretrain.json"),
)
SCRATCH = Scratch(STAGE, "0123")
DONE = {"models/pretrain/deep/a": "new", "models/pretrain.json": "{}\n", "models/pretrain.csv": "step\n8\n"}


def before() -> None:
    """A result from before in the project, and a plan."""
    old = {"models/pretrain/a": "old", "models/pretrain.json": "{}\n", "models/pretrain.csv": "step\n4\n"}
    for name, text in {**old, "models/design/pretrain.json": "{}\n"}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    folder.seal(STAGE.output, {})


def work() -> None:
    """Make the result, unless that was done, and hand it over."""
    with SCRATCH.held():
        if not SCRATCH.finished:
            SCRATCH.clear()
            (SCRATCH.output / "deep").mkdir()
            (SCRATCH.output / "deep/a").write_text("new", encoding="utf-8")
            folder.seal(SCRATCH.output, {})
            SCRATCH.metrics.write_text("{}\n", encoding="utf-8")
            SCRATCH.curve.write_text("step\n8\n", encoding="utf-8")
            SCRATCH.finish()
        SCRATCH.promote()


def main(root: Path) -> None:
    start, project = root / "before", root / "project"
    for place in (start, project):
        place.mkdir()
    os.chdir(start)
    before()

    def there() -> None:
        os.chdir(project)
        work()

    finished, count = 0, 0
    for _ in cuts(project, start, there):
        count += 1
        os.chdir(project)
        if STAGE.output.exists():
            folder.verify(STAGE.output)  # the old one or the new one, whole
        assert STAGE.curve.read_text(encoding="utf-8") in ("step\n4\n", "step\n8\n")
        finished += SCRATCH.finished
        if SCRATCH.finished:  # no later cut takes that back
            assert SCRATCH.curve.read_text(encoding="utf-8") == "step\n8\n"
        else:
            assert not finished
        work()
        assert {name: Path(name).read_text(encoding="utf-8") for name in DONE} == DONE
        folder.verify(STAGE.output)
        assert not list(Path("models").glob(".*"))
    assert finished > 1
    print(f"{count} cuts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
