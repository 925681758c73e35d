"""The whole of `params.yaml`, validated at the door of every stage: a mistake in the last section must not wait.

Reports and refuses only: what a stage computes with is its own section, which `design` writes down complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.resolve import resolve
from lmmodel.inference.settings import Evaluate
from lmmodel.learning.families import METHOD
from lmmodel.learning.settings import Finetune, Launch, Pretrain
from lmmodel.params.document import Document
from lmmodel.params.document import read as read_document
from lmmodel.params.refusal import suggestion
from lmmodel.params.settings import Seed, Settings, settle
from lmmodel.text.settings import Corpus, Dialogues, Shards, Tokenizer

PARAMS = Path("params.yaml")

SECTIONS: dict[str, type[Settings]] = {
    "corpus": Corpus,
    "tokenizer": Tokenizer,
    "shards": Shards,
    "dialogues": Dialogues,
    "pretrain": Pretrain,
    "finetune": Finetune,
    "evaluate": Evaluate,
}
"""The section of each stage after `design`, in the order of the pipeline."""

TRAININGS = ("pretrain", "finetune")
"""The stages that put out a checkpoint."""

JUDGE = "evaluate"
"""The stage that says what each checkpoint is worth."""

SEEDED = (*TRAININGS, JUDGE)
"""The stages that draw at random: the seed never touches the data."""

_KEYS = ("seed", "model", *SECTIONS, "launch")


class _Seed(Settings):
    seed: Seed


@dataclass(frozen=True)
class Parameters:
    """A parameter file that holds together: typed, complete, every part of it checked."""

    document: Document
    seed: int
    declaration: Declaration
    sections: Mapping[str, Settings]
    launch: Launch

    def section(self, stage: str) -> dict[str, Any]:
        """What `stage` computes with, complete, as plain data; with the seed where the stage draws at random."""
        section = self.sections[stage].dump()
        return {"seed": self.seed, **section} if stage in SEEDED else section

    @cached_property
    def flat(self) -> dict[str, Any]:
        """Every value by its dotted key, the declaration included, for tables and trackers."""
        whole = {"model": self.declaration.dump(), **{stage: self.sections[stage].dump() for stage in self.sections}}
        return {"seed": self.seed, **flatten(whole)}


def read(path: str | Path = PARAMS) -> Parameters:
    """The parameters at `path`; a Refusal names the first thing in it that does not fit."""
    return check(read_document(path))


def check(document: Document) -> Parameters:
    """As `read`, from a document."""
    for key in document.data:
        if key not in _KEYS:
            choices = ", ".join(_KEYS)
            raise document.refuse((key,), f"is not a section; there are {choices}{suggestion(key, _KEYS)}")
    for key in _KEYS:
        if key not in document.data:  # DVC fails on a section that is not there
            raise document.refuse((), f"section '{key}' is missing; there are {', '.join(_KEYS)}")
    seed = settle(_Seed, Document(document.name, {"seed": document.data["seed"]}, document.lines), ()).seed
    sections = {stage: settle(settings, document, (stage,)) for stage, settings in SECTIONS.items()}
    launch = settle(Launch, document, ("launch",))
    declaration = resolve(document, vocab_size=sections["tokenizer"].vocab_size)  # type: ignore[attr-defined]
    method = sections["finetune"].method  # type: ignore[attr-defined]
    trained = ("pretrain",) if METHOD.declares(method.kind, "skips", method.file) else TRAININGS
    for stage in trained:
        _whole_sequences(document, stage, sections[stage], declaration.context)
    return Parameters(document, seed, declaration, sections, launch)


def _whole_sequences(document: Document, stage: str, section: Any, context: int) -> None:
    """A Refusal where a batch of `stage` is not made of whole sequences."""
    try:
        section.sequences(context)
    except ValueError as error:
        raise document.refuse((stage, "batch_tokens"), str(error)) from None


def flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping with dotted keys."""
    if isinstance(data, dict) and data:
        return {k: v for key, value in data.items() for k, v in flatten(value, f"{prefix}{key}.").items()}
    if isinstance(data, list) and any(isinstance(value, dict | list) for value in data):
        return {k: v for index, value in enumerate(data) for k, v in flatten(value, f"{prefix}{index}.").items()}
    return {prefix.removesuffix("."): data}


def schema() -> dict[str, Any]:
    """The JSON schema of `params.yaml`, by which editors complete and check it."""
    from lmmodel.architecture.schema import model_schema

    sections: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    described: dict[str, type[Settings]] = {**SECTIONS, "launch": Launch}
    for name, settings in described.items():
        sections[name] = settings.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{model}": schema for model, schema in sections[name].pop("$defs", {}).items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "params.yaml of lmmodel",
        "type": "object",
        "additionalProperties": False,
        "required": list(_KEYS),
        "properties": {"seed": _Seed.model_json_schema()["properties"]["seed"], "model": model_schema(), **sections},
        "$defs": definitions,
    }


if __name__ == "__main__":
    from lmmodel.folder import canonical

    print(canonical(schema()), end="")
