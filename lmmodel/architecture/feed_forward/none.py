"""No feed-forward part: a layer that only mixes, as in Mamba."""

from __future__ import annotations

from lmmodel.architecture.sizes import Sizes
from lmmodel.params.settings import Settings


class Options(Settings):
    """Nothing to choose."""


class FeedForward:
    """Making one gives None, so that the block leaves out the norm before it too."""

    def __new__(cls, options: Options, sizes: Sizes) -> None:  # type: ignore[misc]
        """None: an object that is not made."""
