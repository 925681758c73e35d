"""Which side of the split a group falls on: decided by its hash alone.

So adding text moves nothing that was there before, and documents and dialogues of one group are held out together.
"""

from __future__ import annotations

from hashlib import blake2b

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)


def side(group: str, *, fraction: float) -> str:
    """`validation` for about `fraction` of all groups, else `train`. A larger fraction only adds groups."""
    return VALIDATION if _place(group) < fraction * 2**64 else TRAIN


def digest(text: str) -> str:
    """32 hexadecimal digits that stand for `text`, wherever exact duplicates are to be found."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _place(group: str) -> int:
    return int.from_bytes(blake2b(group.encode(), digest_size=8, person=b"split").digest(), "big")
