"""From what a person writes under `model` to a complete declaration: the grammar of designs.

`design` is parts, or the name of a published design, or a file, or `{like: NAME, changes}`; a design file holds what
may stand under `design`: one grammar in three places. Everything that does not fit is refused with
its file, line and key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError

from lmmodel.architecture.declaration import Check, Declaration, Embedding, Head, Initial, Layer
from lmmodel.architecture.families import PARTS
from lmmodel.architecture.pattern import order
from lmmodel.architecture.sizes import Sizes
from lmmodel.architecture.together import go_together, on_the_embedding
from lmmodel.architecture.told import Told, merged
from lmmodel.params.document import Document, Keys, read
from lmmodel.params.kinds import OWN_FOLDER, Chosen, choose
from lmmodel.params.refusal import Refusal, suggestion
from lmmodel.params.settings import Count, Listed, Section, Settings, refusal, settle

DESIGNS = Path(__file__).parent / "designs"
"""Published architectures, each a file."""

MODEL_SECTIONS: dict[str, type[Settings]] = {"embedding": Embedding, "head": Head, "initial": Initial}
_KEYS = ("like", *PARTS, *MODEL_SECTIONS, "layers", "pattern")
_DEFAULTS = {
    "norm": "rms",
    "position": "rotary",
    "attention": "multi_head",
    "feed_forward": "gated",
    "block": "prenorm",
}


class Model(Settings):
    """The section `model`: a design at a size."""

    width: Count = 256
    depth: Count = 6
    heads: Count = 4
    head_width: Count | None = None
    context: Count = 256
    design: Any = {}
    accept: Annotated[tuple[Check, ...], Listed] = ()


def load_declaration(path: str | Path = "params.yaml", *, design: str | None = None) -> Declaration:
    """The declaration of the section `model` of a parameter file; `design`: another design at the same size."""
    document = read(path)
    tokenizer = document.data.get("tokenizer")
    told = Document(document.name, {"tokenizer": _only_size(tokenizer)}, document.lines)
    size = settle(_Vocabulary, told, ("tokenizer",))
    return resolve(document, vocab_size=size.vocab_size, design=design)


class _Vocabulary(Settings):
    vocab_size: Count = 4096


def _only_size(tokenizer: Any) -> Any:
    return {key: tokenizer[key] for key in tokenizer if key == "vocab_size"} if isinstance(tokenizer, dict) else {}


def resolve(document: Document, *, vocab_size: int, design: str | None = None) -> Declaration:
    """The section `model` of `document`, complete; `design` (a name or a file) in place of the one told there."""
    model = settle(Model, document, ("model",))
    sizes = _sizes(document, model)
    told = _design(document, ("model", "design"), model.design if design is None else design)
    names, remarks = _order(told, model.depth)
    whole = _parts(told, sizes)
    layers = [_layer(told, name, sizes, index, whole["position"]) for index, name in enumerate(names)]
    return Declaration(
        width=sizes.width,
        depth=sizes.depth,
        heads=sizes.heads,
        head_width=sizes.head_width,
        context=sizes.context,
        vocab_size=vocab_size,
        layers=tuple(layers),
        norm=whole["norm"],
        position=on_the_embedding(told, whole["position"], sizes),
        accept=tuple(sorted(set(model.accept))),
        names=names,
        remarks=remarks,
        embedding=_section(told, "embedding", Embedding),
        head=_section(told, "head", Head),
        initial=_section(told, "initial", Initial),
    )


def parts_told(document: Document, design: str | None = None) -> dict[str, Any]:
    """What `resolve` would make layers of: the design with all that it is like, merged, as it may stand in a file."""
    model = settle(Model, document, ("model",))
    return _design(document, ("model", "design"), model.design if design is None else design).data


def published(name: str) -> dict[str, int]:
    """The sizes at which design `name` was published."""
    return dict(_read_design(name).data["published"])


def designs() -> tuple[str, ...]:
    """The published designs, by name."""
    return tuple(sorted(path.stem for path in DESIGNS.glob("*.yaml")))


def _sizes(document: Document, model: Model) -> Sizes:
    """The model's sizes; width / heads is the width of a head unless one is told."""
    head_width = model.head_width or model.width // model.heads
    if model.head_width is None and model.width % model.heads:
        raise document.refuse(("model", "width"), f"{model.width} is not divisible by heads, {model.heads}")
    return Sizes(model.width, model.depth, model.heads, head_width, model.context)


# -- what was told ----------------------------------------------------------------------------------------------------


def _design(document: Document, keys: Keys, value: Any, via: tuple[str, ...] = ()) -> Told:
    """A design from any of its three forms, merged into parts, each with the place where it was told.

    via: the names that led here, each of a design that is like the next.
    """
    if isinstance(value, str):
        return _named(document, keys, value, via)
    if not isinstance(value, dict):
        raise document.refuse(keys, f"should be parts, or the name of a design: {', '.join(designs())}")
    told = Told.at(document, keys, {key: item for key, item in value.items() if key != "like"})
    for key in told.data:
        if key not in _KEYS:
            raise told.refuse((key,), f"is not part of a design; there are {', '.join(_KEYS)}{suggestion(key, _KEYS)}")
    if "like" not in value:
        base = Told(dict(_DEFAULTS), {}, (document, keys))
    elif isinstance(value["like"], str):
        base = _named(document, (*keys, "like"), value["like"], via)
    else:
        raise document.refuse((*keys, "like"), f"should be the name of a design: {', '.join(designs())}")
    _check_parts(told)
    _check_layers(told.below("layers"))
    return merged(base, told)


def _check_parts(told: Told) -> None:
    for key, value in told.data.items():
        mapping_only = key in MODEL_SECTIONS or key == "layers"
        if mapping_only and not isinstance(value, dict):
            raise told.refuse((key,), "should hold keys and values")
        if key in PARTS and not isinstance(value, str | dict):
            raise told.refuse((key,), f"should be one of {', '.join(PARTS[key].names())}, or {{kind: NAME, options}}")


def _check_layers(layers: Told) -> None:
    for name, parts in layers.data.items():
        if not isinstance(parts, dict | None):
            raise layers.refuse((name,), "should say what differs in this layer, or {} where nothing does")
        change = layers.below(name)
        for key in change.data:
            if key not in PARTS:
                choices = tuple(PARTS)
                text = f"is not a part of a layer; there are {', '.join(choices)}{suggestion(key, choices)}"
                raise change.refuse((key,), text)
        _check_parts(change)


def _named(document: Document, keys: Keys, name: str, via: tuple[str, ...]) -> Told:
    via = (*via, str(Path(name)))
    if via[-1] in via[:-1]:
        raise document.refuse(keys, f"comes back to where it began, so there is no design: {' is like '.join(via)}")
    try:
        file = _read_design(name)
    except Refusal as error:
        if error.args[0].startswith("'"):
            raise document.refuse(keys, str(error)) from None
        raise
    return _design(file, (), {key: value for key, value in file.data.items() if key != "published"}, via)


def _read_design(name: str) -> Document:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if path.parts[0] != OWN_FOLDER or ".." in path.parts or path.suffix != ".yaml":
            raise Refusal(f"'{name}' should be a file {OWN_FOLDER}/....yaml: only that folder is watched for changes")
        if not path.is_file():
            raise Refusal(
                f"'{name}' does not exist here. A queued experiment sees only what git tracks: git add {name}"
            )
        return read(path)
    if name not in designs():
        raise Refusal(f"'{name}' is not one of {', '.join(designs())}{suggestion(name, designs())}")
    document = read(DESIGNS / f"{name}.yaml")
    return Document(f"lmmodel/architecture/designs/{name}.yaml", document.data, document.lines)


# -- what it means ----------------------------------------------------------------------------------------------------


def _order(told: Told, depth: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The name of every layer, and remarks."""
    layers = tuple(told.data.get("layers") or ())
    if "pattern" in told.data:
        if not layers:
            raise told.refuse(("pattern",), "orders layers, and there are none: name them under `layers`")
        return order(told, layers, depth)
    if layers:
        raise told.refuse(("layers",), f"{', '.join(layers)} need a `pattern` that says how they follow one another")
    return ("layer",) * depth, ()


def _layer(told: Told, name: str, sizes: Sizes, index: int, shared: Chosen) -> Layer:
    """Layer number `index`: the design's parts with what layer `name` changes; `shared`: the model's position."""
    sizes = Sizes(sizes.width, sizes.depth, sizes.heads, sizes.head_width, sizes.context, index)
    layers = told.below("layers")
    if name in layers.data:
        told = merged(told, layers.below(name))
    parts = _parts(told, sizes)
    return Layer(**{**parts, "position": go_together(told, parts, sizes, shared)})


def _parts(told: Told, sizes: Sizes) -> dict[str, Chosen]:
    """The five parts, chosen and complete at `sizes`; the position as it was told, which fits some attention or not."""
    return {key: _part(told, key, sizes) for key in PARTS}


def _part(told: Told, key: str, sizes: Sizes) -> Chosen:
    value = told.data[key]
    try:
        chosen = choose(PARTS[key], value)
        return chosen if key == "position" else Chosen(chosen.kind, chosen.options.complete(sizes), chosen.file)
    except ValidationError as error:
        document, place = _document_of(told, (key, *error.errors()[0]["loc"]), len(error.errors()[0]["loc"]))
        raise refusal(error, document, place, Settings, value) from None
    except ValueError as error:
        raise told.refuse((key,), str(error)) from None


def _document_of(told: Told, keys: Keys, tail: int) -> tuple[Document, Keys]:
    """The place of `keys` without the last `tail` of them, in the document where the whole was written."""
    document, place = told.place(keys)
    return document, place[: len(place) - tail] if tail else place


def _section(told: Told, key: str, settings: type[Section]) -> Section:
    inner = told.below(key)
    try:
        return settings.model_validate(inner.data)
    except ValidationError as error:
        document, place = _document_of(told, (key, *error.errors()[0]["loc"]), len(error.errors()[0]["loc"]))
        raise refusal(error, document, place, settings, inner.data) from None
