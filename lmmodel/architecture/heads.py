"""What kinds of attention are told alike about heads: how many share keys and values, how far they see, how wide."""

from __future__ import annotations

from typing import ClassVar, Self

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Count, Fraction, Settings


class Heads(Settings):
    """Key-value heads as a number or as queries to each, a window as a number or as a fraction of the context."""

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("kv_heads", "queries_per_kv"),
        ("window", "window_fraction"),
    )

    kv_heads: Count | None = None
    queries_per_kv: Count | None = None
    window: Count | None = None
    window_fraction: Fraction | None = None

    def numbered(self, sizes: Sizes, *, least_window: int = 2) -> Self:
        """With kv_heads and window as numbers; ValueError where they do not fit the heads, or leave nothing to choose.

        least_window: 1 where a token that sees itself alone has something else to attend to.
        """
        per_kv = self.queries_per_kv or 1
        if self.kv_heads is None and sizes.heads % per_kv:
            raise ValueError(f"has {sizes.heads} heads, which queries_per_kv {per_kv} does not divide")
        kv_heads = self.kv_heads or sizes.heads // per_kv
        if sizes.heads % kv_heads:
            raise ValueError(f"has {sizes.heads} heads, which kv_heads {kv_heads} does not divide")
        window = self.window
        if self.window_fraction is not None:
            window = max(2, round(self.window_fraction * sizes.context))
        if window is not None and window < least_window:
            raise ValueError("has a window of 1: a token that sees itself alone has nothing to choose from; take 2")
        told = {"kv_heads": kv_heads, "queries_per_kv": None, "window": window, "window_fraction": None}
        return self.model_copy(update=told)


def times_head_width(name: str, ratio: float, sizes: Sizes) -> int:
    """A width told by the option `name` as a ratio to the width of a head; ValueError where it is no whole number."""
    width = ratio * sizes.head_width
    if width != int(width):
        raise ValueError(f"has {name} {ratio:g} times head width {sizes.head_width}, which is no whole number")
    return int(width)
