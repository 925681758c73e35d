"""The five families of parts that a design is put together from."""

from lmmodel.params.kinds import Family

NORM = Family("lmmodel.architecture.norm", "Norm", own=True)
POSITION = Family("lmmodel.architecture.position", "Position", own=True)
ATTENTION = Family("lmmodel.architecture.attention", "Attention", own=True)
FEED_FORWARD = Family("lmmodel.architecture.feed_forward", "FeedForward", own=True)
BLOCK = Family("lmmodel.architecture.block", "Block", own=True)

PARTS = {family.name: family for family in (NORM, POSITION, ATTENTION, FEED_FORWARD, BLOCK)}
"""By the key that a part has in a design, in the order in which a design is read."""
