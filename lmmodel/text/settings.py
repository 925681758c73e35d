"""The sections `corpus`, `tokenizer`, `shards` and `dialogues` of a parameter file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lmmodel.params.kinds import Family, choice
from lmmodel.params.settings import Count, Fraction, Settings, exactly_one
from lmmodel.text.mixture import sources
from lmmodel.text.specials import fits

SOURCE = Family("lmmodel.text.source", "documents")
"""Where documents come from."""
DIALOGUE = Family("lmmodel.text.dialogue", "dialogues")
"""Where questions with answers come from."""


class Validation(Settings):
    """What is held out: a fraction of the groups, chosen by hash, or a split that the source has of its own."""

    fraction: Annotated[Fraction, Field(gt=0, lt=1)] | None = None
    split: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, "fraction", "split")
        return self


class Corpus(Settings):
    """Documents, cleaned, without exact duplicates, split by group.

    source: one, or a list of several, each with its `weight`: the share of what is learnt from that comes from it.
    """

    source: sources(SOURCE) = "python_docs"  # type: ignore[valid-type]
    validation: Validation = Validation(fraction=0.1)


class Tokenizer(Settings):
    """A vocabulary learnt from the train split; `byte` has nothing to learn."""

    algorithm: Literal["bpe", "unigram", "char", "byte"] = "bpe"
    vocab_size: Count = 4096
    train_bytes: Count = 50_000_000

    @field_validator("vocab_size")
    @classmethod
    def _goes_with_the_algorithm(cls, vocab_size: int, told: ValidationInfo) -> int:
        fits(told.data.get("algorithm", ""), vocab_size)
        return vocab_size


class Shards(Settings):
    """The documents as tokens."""

    tokens_per_shard: Count = 1_000_000


class Dialogues(Settings):
    """Questions and answers, split by the same groups as the documents."""

    source: choice(DIALOGUE) = "python_docs"  # type: ignore[valid-type]
    validation: Validation = Validation(fraction=0.1)
