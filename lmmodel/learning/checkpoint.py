"""A model as a folder that explains itself, and runs nothing.

    model.safetensors   every parameter and lasting buffer, in float32
    declaration.json    the design: enough to build the model
    tokenizer/          what turns text into its tokens
    checkpoint.json     what made it: format, step, tokens, seed, digest of the data, platform
    kinds/              the sources of components of one's own: to read, and to name if they are to run
    index.json          size and SHA-256 of all of these

Nothing is pickled. A component of one's own is code: it runs only when the caller names its file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lmmodel import folder as sealed
from lmmodel.architecture.declaration import Declaration
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch import Tensor

    from lmmodel.architecture.model import Model
    from lmmodel.text.tokenizer import Tokenizer

FORMAT = 1
"""Of the folder; a reader refuses a later one."""
KINDS, TOKENIZER = "kinds", "tokenizer"
_WEIGHTS, _DECLARATION, _FACTS = "model.safetensors", "declaration.json", "checkpoint.json"


def save(folder: Path, *, model: Model, tokenizer: Path, facts: Mapping[str, Any]) -> None:
    """Write `model` and what explains it into `folder`, and seal it.

    tokenizer: the folder of the one that it was trained with. facts: for checkpoint.json.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in values(model).items()}, folder / _WEIGHTS)
    (folder / _DECLARATION).write_bytes(model.declaration.canonical())
    (folder / _FACTS).write_text(sealed.canonical({"format": FORMAT, **facts}), encoding="utf-8")
    shutil.copytree(tokenizer, folder / TOKENIZER)
    for kind in model.declaration.own_kinds():
        place = folder / KINDS / kind
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kind, place)
    sealed.seal(folder, {"format": FORMAT})


def is_in(folder: Path) -> bool:
    """Whether there is a checkpoint in `folder`, whole or not."""
    return (folder / _FACTS).is_file()


def expect(folder: Path) -> None:
    """A Refusal where there is no checkpoint in `folder`."""
    if not is_in(folder):
        raise Refusal(f"{folder}: holds no model (no {_FACTS}); `dvc repro` trains one")


def load(folder: str | Path, *, code: Iterable[str | Path] = ()) -> tuple[Model, Tokenizer]:
    """The model in `folder`, in float32 on the CPU, ready to be used, and its tokenizer.

    code: files of components of one's own that may run: each ends as the declaration names it, or lies in kinds/ of
    the folder. A Refusal names what is missing, cut off or changed, and a component that `code` does not hold.
    """
    folder = Path(folder)
    sealed.verify(folder)
    words = tokenizer(folder)
    return _model(folder, code), words


def load_model(folder: str | Path, *, code: Iterable[str | Path] = ()) -> Model:
    """As `load`, the model alone: for token ids in and logits out, where a model was imported without a tokenizer."""
    folder = Path(folder)
    sealed.verify(folder)
    return _model(folder, code)


def tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`; a Refusal where its model was imported without one."""
    from lmmodel.text.tokenizer import DESCRIPTION, Tokenizer

    place = folder / TOKENIZER
    if is_in(folder) and not (place / DESCRIPTION).is_file():
        raise Refusal(
            f"{folder}: has no tokenizer (its model was imported without one of this project's), so it takes and "
            f"gives token ids alone: lmmodel.load_model('{folder}')"
        )
    return Tokenizer.load(place)


def _model(folder: Path, code: Iterable[str | Path]) -> Model:
    from lmmodel.architecture.model import build

    facts(folder)
    model = build(declaration(folder, code=code), seed=0)
    _fill(model, folder / _WEIGHTS)
    return model.eval()


def declaration(folder: Path, *, code: Iterable[str | Path] = ()) -> Declaration:
    """The design of the model in `folder`; own components only from files that `code` names."""
    path = folder / _DECLARATION
    text = _read(path)
    named = {kind: Path(file) for file in code for kind in _files(text) if _ends(Path(file), kind)}
    return Declaration.parse(text, code=named, name=str(path))


def own_kinds(folder: Path) -> tuple[str, ...]:
    """The components of one's own that the model in `folder` is made of, as files below `experiments/`."""
    return tuple(sorted(_files(_read(folder / _DECLARATION))))


def platform(folder: Path) -> dict[str, Any]:
    """What the model in `folder` was trained on, and in what precision; nothing of one that was imported."""
    told: dict[str, Any] = facts(folder).get("platform", {})
    return told


def facts(folder: Path) -> dict[str, Any]:
    """What made the model in `folder`: checkpoint.json."""
    path = folder / _FACTS
    try:
        told = json.loads(_read(path))
        form = int(told["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path}: does not say what it is ({error!r})") from None
    if form > FORMAT:
        raise Refusal(f"{path}: has format {form}, and this lmmodel reads up to {FORMAT}: a later one wrote it")
    return told


def values(model: Model) -> dict[str, Tensor]:
    """Every parameter and lasting buffer of `model`, each once, under the first of its names."""
    lasting = model.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(lasting.items())}
    return {name: tensor for name, tensor in lasting.items() if first[id(tensor)] == name}


def _fill(model: Model, path: Path) -> None:
    """Give `model` the values in `path`; a Refusal names the first that is missing, unknown or of another shape."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        kept = load_file(path)
    except (SafetensorError, OSError) as error:
        raise Refusal(f"{path}: cannot be read: {error}") from None
    wanted = values(model)
    for name in sorted(wanted.keys() ^ kept.keys()):
        raise Refusal(
            f"{path}: {'has no' if name in wanted else 'holds'} {name}, which its declaration does not expect"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            if tensor.shape != kept[name].shape:
                expected, found = tuple(tensor.shape), tuple(kept[name].shape)
                raise Refusal(f"{path}: {name} is {found}, and its declaration makes it {expected}")
            tensor.copy_(kept[name])


def _files(declaration: str) -> set[str]:
    """The kinds in a declaration that are files."""

    def kinds(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["kind"]} if str(value.get("kind", "")).endswith(".py") else set()
            return own.union(*(kinds(part) for part in value.values()))
        return set().union(*(kinds(part) for part in value)) if isinstance(value, list) else set()

    try:
        return kinds(json.loads(declaration))
    except ValueError:
        return set()


def _ends(file: Path, kind: str) -> bool:
    parts = PurePosixPath(kind).parts
    return file.parts[-len(parts) :] == parts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: cannot be read: {error}") from None
