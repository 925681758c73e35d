"""What the section `evaluate` can be told."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from lmmodel.inference import task_names
from lmmodel.params.settings import Count, Listed, Real, Settings, Words

REFERENCES_EXTRA = "references"
"""The extra of this project that brings transformers, which nothing but a reference needs."""


Task = Annotated[str, AfterValidator(task_names.check)]
"""The name of a task: one of this project's, or one of lm-eval's."""


class Samples(Settings):
    """Text for people to read: each prompt continued by `tokens` tokens. A temperature of 0 takes the likeliest."""

    prompts: Words = ("Return a", "The module", "class ")
    tokens: Count = 48
    temperature: Real = 0.8

    @model_validator(mode="after")
    def _not_below_zero(self) -> Self:
        if self.temperature < 0:
            raise ValueError(f"takes a temperature from 0 on, not {self.temperature}")
        return self


class Evaluate(Settings):
    """How the models are judged, and beside what."""

    examples_per_task: Count = 700
    tasks: Annotated[tuple[Task, ...], Listed] = (
        "documents_bits_per_byte",
        "dialogues_choice",
        "dialogues_answer",
    )
    references: Words = ()
    samples: Samples = Samples()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for names, what in ((self.tasks, "tasks"), (self.references, "references")):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"names '{twice[0]}' twice under {what}")
        return self

    @model_validator(mode="after")
    def _references_can_be_read(self) -> Self:
        if self.references and find_spec("transformers") is None:
            raise ValueError(
                f"names references, which need transformers: pip install -c constraints.txt -e '.[{REFERENCES_EXTRA}]'"
            )
        for name in self.references:
            if is_folder(name) and not (Path(name) / "config.json").is_file():
                raise ValueError(f"names the reference '{name}', which is no folder of Hugging Face's (no config.json)")
        return self


def is_folder(reference: str) -> bool:
    """Whether a reference is meant as a folder here rather than as a name on the hub (`owner/name` or `name`)."""
    return reference.startswith((".", "/", "~")) or reference.count("/") > 1 or Path(reference).is_dir()
