"""All of learning with five packages and what these require: `bare.py FOLDER`. Nothing else is found.

Trains, goes on, fine-tunes, saves, reads back and generates. What else is installed cannot be imported here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import import_module, metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

PACKAGES = ("torch", "numpy", "safetensors", "pydantic", "ruamel.yaml")


def required(packages: Iterable[str]) -> set[str]:
    """`packages` and all that they require in turn, extras apart."""
    found: set[str] = set()
    left = [*packages]
    while left:
        name = _normal(left.pop())
        if name not in found:
            found.add(name)
            left += [_name(told) for told in _requirements(name) if "extra ==" not in told]
    return found


def _requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another system, say
        return []


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Bare:
    """Finds modules as Python does, but for those that belong to other distributions alone."""

    def __init__(self) -> None:
        allowed = required(PACKAGES) | {"lmmodel"}
        owners = metadata.packages_distributions().items()
        self.hidden = {top for top, some in owners if not allowed & {_normal(one) for one in some}}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """None: there is no such module."""
        return None if name.partition(".")[0] in self.hidden else PathFinder.find_spec(name, path, target)


def train(scratch: Path) -> None:
    """Part of a training, the rest of it by another, low-rank additions, a checkpoint, and text from it."""
    import torch

    import lmmodel
    from lmmodel.inference.generation import generate
    from lmmodel.learning import checkpoint
    from lmmodel.learning.method.lora import Method, Options
    from lmmodel.learning.reports import Saved, Stepped
    from tests.learning import small

    told = small.section(precision="bfloat16", optimizer="muon", ema={"decay": 0.9})
    for report in (reports := small.training(scratch / "work", told=told, save_seconds=0).run()):
        if isinstance(report, Saved) and report.step == 3:
            reports.close()
    training = small.training(scratch / "work", told=told)
    steps = [report.step for report in training.run() if isinstance(report, Stepped)]
    assert steps == [4, 5, 6, 7, 8]
    method, model = Method(Options(rank=2)), training.model
    method.prepare(model, seed=1)
    for _ in small.training(scratch / "tuned", model=model).run():
        pass
    method.finish(model)
    (scratch / "no tokenizer").mkdir()
    checkpoint.save(scratch / "model", model=model, tokenizer=scratch / "no tokenizer", facts={"step": training.step})
    read = lmmodel.load_model(scratch / "model")
    tokens_BT = torch.arange(small.CONTEXT)[None]
    assert torch.equal(read(tokens_BT), model(tokens_BT))
    assert len(generate(read, [[1, 2, 3], [4]], tokens=4)[0]) == 4


def main(folder: Path) -> None:
    bare = Bare()
    sys.meta_path[:] = [bare if finder is PathFinder else finder for finder in sys.meta_path]
    try:
        import_module("lmmodel.progress")  # which shows its bars with tqdm
    except ModuleNotFoundError as error:
        print("without", error.name)
    train(folder)
    print("found", *sorted(bare.hidden & {name.partition(".")[0] for name in sys.modules}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
