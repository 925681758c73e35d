"""No mixing: a layer of feed-forward only, as in Nemotron-H."""

from __future__ import annotations

from typing import Any, ClassVar

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class Attention:
    """Making one gives None, so that the block leaves out the norm before it too."""

    honours: ClassVar[frozenset[str]] = frozenset()
    orders_itself: ClassVar[bool] = True  # a position passes by: there is nothing to order

    def __new__(cls, options: Options, sizes: Sizes, **makers: Any) -> None:  # type: ignore[misc]
        """None: an object that is not made."""
