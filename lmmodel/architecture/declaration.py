"""A design at a size, resolved: one complete declaration with no default left open.

This is what `models/design/declaration.json` and every checkpoint hold, and all that building a model needs.
`resolve.py` makes one from what a person writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from lmmodel.architecture.families import ATTENTION, BLOCK, FEED_FORWARD, NORM, PARTS, POSITION
from lmmodel.architecture.sizes import Sizes
from lmmodel.folder import canonical
from lmmodel.params.kinds import Chosen, choice
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Count, Listed, Natural, Positive, Settings, Words

Check = Literal["shape", "causality", "cached", "ragged", "packed", "rows", "gradient", "counts", "save"]
"""The hard checks: what a sound design passes before anything is trained. `accept` names those it fails on purpose."""


class Embedding(Settings):
    """The table that reads tokens in. `tied`: the same table writes them out.

    ngrams: the rows of further tables, for runs of two tokens, of three, and so on; what they hold is added.
    """

    tied: bool = True
    scale: Literal["none", "sqrt_width"] = "none"
    norm: bool = False
    ngrams: Annotated[tuple[Count, ...], Listed] = ()


class Head(Settings):
    """What turns the last hidden state into logits.

    softcap: logits pass through softcap * tanh(logits / softcap). ahead: tokens predicted beyond the next one.
    """

    softcap: Positive | None = None
    ahead: Natural = 0


class Initial(Settings):
    """Initial values: a normal distribution, and what happens to the projections that write to the residual."""

    std: Positive = 0.02
    outputs: Literal["plain", "depth_scaled", "zero"] = "depth_scaled"


class Layer(Settings):
    """The parts of one layer."""

    norm: choice(NORM) = "rms"  # type: ignore[valid-type]
    position: choice(POSITION) = "rotary"  # type: ignore[valid-type]
    attention: choice(ATTENTION) = "multi_head"  # type: ignore[valid-type]
    feed_forward: choice(FEED_FORWARD) = "gated"  # type: ignore[valid-type]
    block: choice(BLOCK) = "prenorm"  # type: ignore[valid-type]


class Declaration(Settings):
    """Everything that decides what the model is.

    `norm` and `position` are those of the whole model: the norm before the head, the position that acts on embeddings.
    `names` (of the layers) and `remarks` are for people: they are not part of the declaration's identity.
    """

    width: Count
    depth: Count
    heads: Count
    head_width: Count
    context: Count
    vocab_size: Count
    layers: Annotated[tuple[Layer, ...], Listed]
    norm: choice(NORM)  # type: ignore[valid-type]
    position: choice(POSITION)  # type: ignore[valid-type]
    embedding: Embedding = Embedding()
    head: Head = Head()
    initial: Initial = Initial()
    accept: Words = ()
    names: Words = Field(default=(), exclude=True)
    remarks: Words = Field(default=(), exclude=True)

    def sizes(self, layer: int = 0) -> Sizes:
        """What the parts of layer number `layer` may know of the model around them."""
        return Sizes(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            head_width=self.head_width,
            context=self.context,
            layer=layer,
        )

    def canonical(self) -> bytes:
        """JSON in its one spelling: equal declarations are equal bytes."""
        return canonical(self.dump()).encode()

    def own_kinds(self) -> tuple[str, ...]:
        """The kinds of one's own that the declaration names, each once, as files below `experiments/`."""
        parts = [getattr(layer, name) for layer in self.layers for name in PARTS] + [self.norm, self.position]
        return tuple(sorted({part.kind for part in parts if NORM.is_own(part.kind)}))

    @classmethod
    def parse(
        cls, text: str | bytes, *, code: Mapping[str, Path] | None = None, name: str = "declaration"
    ) -> Declaration:
        """The declaration that `canonical` wrote. `code`: the only own kinds that may be used, by kind; None: any here.

        Refused, as `name`, where the text is not one.
        """
        try:
            return cls.model_validate(json.loads(text), context=None if code is None else {"code": code})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise Refusal(f"{name}: {place} {first['msg']}") from None
        except ValueError as error:
            raise Refusal(f"{name}: is not JSON ({error})") from None


def sorts(layers: Sequence[Layer]) -> dict[int, int]:
    """The number of the first layer of each sort, and how many are alike; the sort of the last layer comes last.

    So the blocks that predict further tokens, which are like the last layer, stay what they are among one of each.
    """
    written = [layer.model_dump_json() for layer in layers]
    first = {text: written.index(text) for text in dict.fromkeys(written)}
    first[written[-1]] = first.pop(written[-1])
    often = Counter(written)
    return {number: often[text] for text, number in first.items()}


def of_each_sort(declaration: Declaration) -> tuple[Declaration, list[int]]:
    """The design with one layer of each sort, and how often each of these layers stands in it, in their order."""
    alike = sorts(declaration.layers)
    layers = tuple(declaration.layers[number] for number in alike)
    return declaration.model_copy(update={"layers": layers, "depth": len(layers)}), list(alike.values())


def parts(layer: Layer) -> dict[str, Chosen]:
    """A layer's parts by family, in the order of `PARTS`."""
    return {name: getattr(layer, name) for name in PARTS}
