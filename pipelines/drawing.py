"""A design drawn, from tokens to logits, with what each part holds and computes.

Nothing here knows a kind by name: a part is drawn by what it was told, and counted on the built model.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.families import ATTENTION, POSITION
from pipelines import describing, wording

_FIGURES = 31  # columns of the counts, right of the drawing, beside those of the parameters
_DRAWING = 36, 62  # the narrowest and the widest

Counts = dict[str, Any]


def drawn(declaration: Declaration, counts: Counts, columns: int | None = None) -> Iterator[str]:
    """From tokens to logits, with what each part holds and computes. columns: to draw in; None: the terminal's."""
    wide = _wide(counts)
    left = max(_DRAWING[0], min(_DRAWING[1], (columns or wording.width()) - _FIGURES - wide))
    yield f"{'':<{left}}{'parameters':>{wide + 5}}{'FLOPs a token, forward':>26}"
    yield "  tokens_BT"
    yield from _row(left, "    embedding", _embedding(declaration), counts, ("embedding",))
    yield from _box(left, declaration, counts)
    last = f"{describing.name(declaration.norm.kind)} before the head, and those of the layers"
    yield from _row(left, "    norm", last, counts, ("norm",))
    yield from _row(left, "    head", _head(declaration), counts, ("head",))
    if "ahead" in counts["parts"]:
        yield from _row(left, "    ahead", f"{declaration.head.ahead} further tokens predicted", counts, ("ahead",))
    yield "  logits_BTV"
    yield f"{'total':>{left}}{counts['parameters']:>{wide},}{'':>5}{counts['flops_per_token']:>21,}"
    yield from wording.entry("", "counted on the built model without values; backward computes twice as much", at=2)


def _box(left: int, declaration: Declaration, counts: Counts) -> Iterator[str]:
    """The layers: those that are alike are drawn once."""
    blocks = wording.listed(list(dict.fromkeys(describing.name(layer.block.kind) for layer in declaration.layers)))
    groups = _groups(declaration)
    order = f": {_order(declaration)}" if len(groups) > 1 else ""
    yield "  ┌ " + f"{wording.several(declaration.depth, 'layer')}, {blocks}{order} ".ljust(left - 6, "─") + "─┐"
    for name, layers in groups.items():
        some = _counted(declaration, layers) if len(groups) > 1 else counts
        if len(groups) > 1:
            yield _boxed(left, [f"  {name}, {wording.several(len(layers), 'layer')}"])
        part = declaration.layers[layers[0]].dump()
        norm = ", ".join(describing.options("norm", part["norm"], heads=declaration.heads))
        yield _boxed(left, [f"    {describing.name(part['norm']['kind']):<13} {norm}"])
        for family in ("attention", "feed_forward"):
            yield from _part(left, family, part, declaration, counts=some, whole=counts)
    if "block" in counts["parts"]:
        yield from _inside(left, "  block", "what the block holds itself", _figures(counts, ("block",), counts))
    yield "  └" + "─" * (left - 4) + "┘"


def _part(
    left: int, family: str, part: dict[str, Any], declaration: Declaration, *, counts: Counts, whole: Counts
) -> Iterator[str]:
    kind = part[family]["kind"]
    words = describing.options(family, part[family], heads=declaration.heads)
    if family == "attention":
        words += _position(kind, part["position"], declaration.heads)
    yield from _inside(left, f"    {describing.name(kind)}", ", ".join(words), _figures(counts, (family,), whole))


def _position(attention: str, position: dict[str, Any], heads: int) -> list[str]:
    """How a mixer learns of order: from a position, or by itself, letting the position pass."""
    if ATTENTION.declares(attention, "orders_itself"):
        return [] if position["kind"] == "none" else [f"orders itself: {describing.name(position['kind'])} passes by"]
    if POSITION.declares(position["kind"], "acts_on") == "embedding":
        return []
    told = describing.options("position", position, heads=heads)
    return [" ".join([describing.name(position["kind"]), *([f"({', '.join(told)})"] if told else [])])]


def _embedding(declaration: Declaration) -> str:
    words = [f"{declaration.vocab_size:,} tokens x {declaration.width:,}"]
    embedding = declaration.embedding
    words += ["tied to the head"] if embedding.tied else []
    words += [f"scaled by {embedding.scale}"] if embedding.scale != "none" else []
    words += ["normed"] if embedding.norm else []
    words += [f"runs of {length} in {rows:,} rows" for length, rows in enumerate(embedding.ngrams, 2)]
    if POSITION.declares(declaration.position.kind, "acts_on") == "embedding":
        words.append(f"plus {describing.name(declaration.position.kind)} positions")
    return ", ".join(words)


def _head(declaration: Declaration) -> str:
    softcap = declaration.head.softcap
    return f"{declaration.width:,} x {declaration.vocab_size:,}" + (f", softcap {softcap:g}" if softcap else "")


def _groups(declaration: Declaration) -> dict[str, list[int]]:
    """Numbers of the layers that are alike, by name."""
    names = declaration.names or tuple("layer" for _ in declaration.layers)
    groups: dict[str, list[int]] = {}
    for number, (name, layer) in enumerate(zip(names, declaration.layers, strict=True)):
        alike = [known for known, numbers in groups.items() if declaration.layers[numbers[0]] == layer]
        groups.setdefault(alike[0] if alike else name, []).append(number)
    return groups


def _order(declaration: Declaration) -> str:
    """`local local global`, or `3 linear, full, 3 linear, full` where that is shorter."""
    runs = [(name, len(list(run))) for name, run in groupby(declaration.names)]
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in runs)


def _counted(declaration: Declaration, layers: list[int]) -> Counts:
    """The counts of these layers alone."""
    from lmmodel.architecture import count

    some = tuple(declaration.layers[number] for number in layers)
    return count.measure(declaration.model_copy(update={"layers": some, "depth": len(some), "names": ()})).dump()


def _row(left: int, label: str, text: str, counts: Counts, parts: tuple[str, ...]) -> Iterator[str]:
    lines = wording.entry(label, text, at=20, columns=left)
    yield f"{lines[0]:<{left}}{_figures(counts, parts, counts)}".rstrip()
    yield from lines[1:]


def _inside(left: int, label: str, text: str, figures: str) -> Iterator[str]:
    lines = wording.entry(label, text, at=18, columns=left - 4)
    yield f"{_boxed(left, lines[:1])}{figures}".rstrip()
    yield from (_boxed(left, [line]) for line in lines[1:])


def _boxed(left: int, lines: list[str]) -> str:
    return f"  │{lines[0]:<{left - 4}}│"


def _figures(counts: Counts, parts: tuple[str, ...], whole: Counts) -> str:
    """Parameters and FLOPs of some parts, and their shares of the whole."""
    found = [counts["parts"].get(part, {"parameters": 0, "flops_per_token": 0}) for part in parts]
    held, computed = sum(item["parameters"] for item in found), sum(item["flops_per_token"] for item in found)
    return _share(held, whole["parameters"], _wide(whole)) + _share(computed, whole["flops_per_token"], 16)


def _wide(counts: Counts) -> int:
    """Columns of the parameters: 13, or what so many need."""
    return max(13, len(f"{counts['parameters']:,}") + 2)


def _share(count: int, whole: int, wide: int) -> str:
    return (
        f"{count:>{wide},}{count / whole:>5.0%}".replace("%", " %").ljust(wide + 6) if count else f"{'-':>{wide + 5}} "
    )
