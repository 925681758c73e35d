"""The sizes that a layer's parts share: they belong to the model and are handed down as one record."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What a part may know of the model around it.

    width: numbers that stand for one token. depth: layers. heads: attention heads of a layer, each head_width numbers
    wide. context: tokens a prediction may look back on. layer: which layer this is, from 0; 0 for parts of the whole
    model.
    """

    width: int
    depth: int
    heads: int
    head_width: int
    context: int
    layer: int = 0
