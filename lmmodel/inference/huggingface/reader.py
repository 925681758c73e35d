"""A Hugging Face folder made into a checkpoint: what `lmmodel import` does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from lmmodel.inference.huggingface import config as configs
from lmmodel.inference.huggingface import family as families
from lmmodel.inference.huggingface import tokenizer as tokenizers
from lmmodel.inference.huggingface.family import Family
from lmmodel.inference.huggingface.tensors import Tensors
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch import Tensor

    from lmmodel.architecture.declaration import Declaration
    from lmmodel.architecture.model import Model

SOURCE = "huggingface"
"""The fact of a checkpoint that says it was imported, and what an export should give back."""
_TIED = "lm_head.weight"


class Brought(NamedTuple):
    """What a checkpoint was made of; `tokenizer`: what became of it, in words."""

    model: Model
    facts: dict[str, Any]
    left_out: list[str]
    tokenizer: str


def bring(folder: Path, target: Path) -> Brought:
    """Make the Hugging Face folder `folder` the checkpoint `target`, which appears whole or not at all."""
    from lmmodel.learning import checkpoint

    if target.exists():
        raise Refusal(f"{target}: exists already, and nothing is written over")
    found = read(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as unfinished:
        tokenizer, made = Path(unfinished, "tokenizer"), Path(unfinished, "checkpoint")
        told = tokenizers.carry(folder, tokenizer)
        checkpoint.save(made, model=found.model, tokenizer=tokenizer, facts=found.facts)
        made.rename(target)
    return Brought(*found, tokenizer=told)


class Found(NamedTuple):
    """A folder's model in float32; facts for its checkpoint; names of tensors that are no part of what it computes."""

    model: Model
    facts: dict[str, Any]
    left_out: list[str]


def read(folder: Path) -> Found:
    """The model of a Hugging Face folder.

    A Refusal names a setting that no declaration expresses, and a tensor that is missing, unknown or of another shape.
    """
    from lmmodel.architecture.model import build

    name = str(folder / configs.CONFIG)
    data = configs.read(folder)
    family = families.of(data, name=name)
    declaration = family.declare(data, name=name)
    model = build(declaration, device="meta")
    with Tensors(folder, base=family.base) as tensors:
        values, dtypes = _values(family, declaration, model, tensors)
        _complete(family, tensors, tied=declaration.embedding.tied)
        left_out = tensors.left(family.left_out)
    model.load_state_dict(values, assign=True)
    commonest = Counter(dtypes.values()).most_common(1)[0][0]
    others = {key: dtype for key, dtype in sorted(dtypes.items()) if dtype != commonest}
    told = {
        "model_type": family.model_type,
        "dtype": commonest,
        "other_dtypes": others,
        "config": families.passed(data),
    }
    return Found(model.requires_grad_(True).eval(), {SOURCE: told}, left_out)


def _values(
    family: Family, declaration: Declaration, model: Model, tensors: Tensors
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every value of `model` in float32, and the kind of number that each tensor was stored as."""
    import torch

    wanted = model.state_dict()
    values: dict[str, Tensor] = {}
    dtypes: dict[str, str] = {}
    for rule in family.rules(declaration, wanted):
        theirs = [tensors.get(name) for name in rule.theirs]
        dtypes |= {name: str(t.dtype).removeprefix("torch.") for name, t in zip(rule.theirs, theirs, strict=True)}
        ours = _read(rule.read, [tensor.to(torch.float32) for tensor in theirs], rule.theirs[0], tensors.folder)
        for name, value in zip(rule.ours, ours, strict=True):
            if value.shape != wanted[name].shape:
                found, needed = tuple(value.shape), tuple(wanted[name].shape)
                raise Refusal(
                    f"{tensors.folder}: {rule.theirs[0]} makes {found} for {name}; config.json makes it {needed}"
                )
            values[name] = value.clone()
    for name in wanted.keys() - values.keys():
        raise Refusal(f"{tensors.folder}: nothing in a {family.model_type} is our {name}")
    return values, dtypes


def _read(move: Any, theirs: list[Tensor], name: str, folder: Path) -> Any:
    try:
        return move(theirs)
    except (RuntimeError, IndexError) as error:
        text = " ".join(str(error).split())[:120]
        raise Refusal(f"{folder}: {name} is {tuple(theirs[0].shape)}, not what config.json makes it ({text})") from None


def _complete(family: Family, tensors: Tensors, *, tied: bool) -> None:
    """Refuse the first tensor that is left over, unless it says again what is there, or is known to be no part."""
    import torch

    for name in tensors.rest(family.left_out):
        if tied and name == _TIED and torch.equal(tensors.get(name), tensors.get(_embedding(family, tensors))):
            continue
        if tied and name == _TIED:
            raise Refusal(f"{tensors.folder}: {name} differs from the embedding, and config.json ties the two")
        raise Refusal(f"{tensors.folder}: holds {name}, which no part of a {family.model_type} is made of")


def _embedding(family: Family, tensors: Tensors) -> str:
    return next(name for name in sorted(tensors.asked) if "embed" in name or ".wte." in name)
