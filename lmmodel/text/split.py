"""Which side of the split a group falls on: decided by its hash alone.

So adding text moves nothing that was there before, and documents and dialogues of one group are held out together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from lmmodel.text.settings import Validation

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)


class Grouped(Protocol):
    """What belongs to a group: a document, a dialogue."""

    @property
    def group(self) -> str: ...  # noqa: D102


Item = TypeVar("Item", bound=Grouped)


def side(group: str, *, fraction: float) -> str:
    """`validation` for about `fraction` of all groups, else `train`. A larger fraction only adds groups."""
    place = int.from_bytes(blake2b(group.encode(), digest_size=8, person=b"split").digest(), "big")
    return VALIDATION if place < fraction * 2**64 else TRAIN


def divide(items: Iterable[Item], *, fraction: float) -> Iterator[tuple[str, Item]]:
    """Each of `items` with its side."""
    return ((side(item.group, fraction=fraction), item) for item in items)


Read = Callable[[str | None], Iterable[Any]]
"""What a source yields of the split of that name, None: of the one that is learnt from."""


def divided(reads: Sequence[Read], *, validation: Validation) -> Iterator[tuple[str, Any]]:
    """All that the sources yield, with its side; on each side in the order of the sources.

    Where sources have a split of their own for validation, that comes first: of equal texts the first is kept, so
    nothing in it is trained on.
    """
    if validation.fraction is not None:
        yield from divide((item for read in reads for item in read(None)), fraction=validation.fraction)
        return
    for name, split in ((VALIDATION, validation.split), (TRAIN, None)):
        for read in reads:
            for item in read(split):
                yield name, item


def digest(text: str) -> str:
    """32 hexadecimal digits that stand for `text`, wherever exact duplicates are to be found."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
