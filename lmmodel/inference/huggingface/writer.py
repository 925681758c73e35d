"""A checkpoint made into a Hugging Face folder: what `lmmodel export` does.

Each known architecture describes the declaration as well as it can. What it said, declared again, is compared with the
declaration: so it is never nearly right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from lmmodel.inference.huggingface import family as families
from lmmodel.inference.huggingface import tokenizer as tokenizers
from lmmodel.inference.huggingface.assembly import essence
from lmmodel.inference.huggingface.config import CONFIG
from lmmodel.inference.huggingface.family import Family
from lmmodel.inference.huggingface.reader import SOURCE
from lmmodel.inference.huggingface.tensors import WEIGHTS
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch import Tensor

    from lmmodel.architecture.declaration import Declaration


class Sent(NamedTuple):
    """What a folder was made; `tokenizer`: what became of it, in words."""

    model_type: str
    architecture: str
    tokenizer: str


def send(checkpoint: Path, folder: Path) -> Sent:
    """Make `checkpoint` the Hugging Face folder `folder`, which appears whole or not at all."""
    from safetensors.torch import load_file

    from lmmodel import folder as sealed
    from lmmodel.learning import checkpoint as checkpoints

    if folder.exists():
        raise Refusal(f"{folder}: exists already, and nothing is written over")
    sealed.verify(checkpoint)
    facts, declaration = checkpoints.facts(checkpoint), checkpoints.declaration(checkpoint)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as unfinished:
        made = Path(unfinished, "folder")
        values = load_file(checkpoint / WEIGHTS)
        place = checkpoint / checkpoints.TOKENIZER
        family = write(made, values=values, declaration=declaration, facts=facts, ids=tokenizers.ids(place))
        told = tokenizers.send(place, made, context=declaration.context)
        made.rename(folder)
    return Sent(family.model_type, family.architecture, told)


class Fit(NamedTuple):
    """An architecture, its config.json for a declaration, and what of the declaration that cannot say."""

    family: Family
    config: dict[str, Any]
    amiss: list[str]


def fitting(declaration: Declaration, *, first: str | None = None) -> Fit:
    """The architecture that `declaration` is; `first` is tried first. A Refusal names what none of them expresses."""
    if own := declaration.own_kinds():
        raise Refusal(f"lmmodel export: '{own[0]}' is code of your own, which no transformers architecture has")
    names = sorted(families.known(), key=lambda name: name != first)
    fits = [fit(Family(name), declaration) for name in names]
    nearest = min(fits, key=lambda found: len(found.amiss))
    if nearest.amiss:
        told = "; ".join(nearest.amiss[:2])
        raise Refusal(
            f"lmmodel export: no transformers architecture known here is this design. "
            f"Nearest is {nearest.family.model_type}, where {told}"
        )
    return nearest


def fit(family: Family, declaration: Declaration) -> Fit:
    """How well `family` says what `declaration` is."""
    config = family.describe(declaration)
    wanted = essence(declaration)
    try:
        found = essence(family.declare(config, name=f"a {family.model_type} of it"))
    except Refusal as refusal:
        return Fit(family, config, [str(refusal), *wanted])  # farther than any that can be declared
    keys = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
    amiss = [f"{key} is {_spelt(found.get(key))}, not {_spelt(wanted.get(key))}" for key in keys]
    return Fit(family, config, amiss)


def write(
    folder: Path,
    *,
    values: Mapping[str, Tensor],
    declaration: Declaration,
    facts: Mapping[str, Any],
    ids: Mapping[str, int | None] | None = None,
) -> Family:
    """Write `values`, a model's by name, into `folder` as config.json and model.safetensors.

    facts: the checkpoint's. What was imported gets back the kinds of number that it came in, and the settings without
    effect; anything else is float32, with `ids` for the tokens that begin and end.
    """
    from safetensors.torch import save_file

    source = facts.get(SOURCE, {})
    family, config, _ = fitting(declaration, first=source.get("model_type"))
    if source.get("model_type") != family.model_type:
        source = {}
    tensors = theirs(family, declaration, values)
    dtype, others = source.get("dtype", "float32"), source.get("other_dtypes", {})
    typed = {name: _as(tensor, others.get(name, dtype)) for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(typed, folder / WEIGHTS, metadata={"format": "pt"})
    told = {**source.get("config", ids or {}), **config, "dtype": dtype}
    (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return family


def theirs(family: Family, declaration: Declaration, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`values` under the names and in the shapes that transformers has for them."""
    written: dict[str, Tensor] = {}
    for rule in family.rules(declaration, values):
        made = rule.write([values[name] for name in rule.ours])
        written |= dict(zip(rule.theirs, made, strict=True))
    return written


def _as(tensor: Tensor, dtype: str) -> Tensor:
    import torch

    return tensor.to(getattr(torch, dtype)).contiguous().clone()


def _spelt(value: Any) -> str:
    return "absent" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
