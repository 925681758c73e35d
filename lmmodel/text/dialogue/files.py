"""Your own dialogues: `.jsonl` and `.parquet` files, also packed as `.gz` or `.zst`.

A row holds `messages` (a list of {role, content}), or a `prompt` and a `completion`. Its group is its own text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import field_validator

from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Settings, Words
from lmmodel.text.dialogues import Dialogue
from lmmodel.text.rows import expand, of_file, watched
from lmmodel.text.turns import dialogue_of

FOLDER = "data/raw/dialogues"


class Options(Settings):
    """`paths`: globs; and the names of the columns, of which a row has `messages`, or the other two."""

    paths: Words = (f"{FOLDER}/**/*.*",)
    messages: str = "messages"
    prompt: str = "prompt"
    completion: str = "completion"

    @field_validator("paths")
    @classmethod
    def _watched(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return watched(paths, folder=FOLDER)


def dialogues(options: Options, *, split: str | None, scratch: Path) -> Iterator[Dialogue]:
    """The dialogues of all files, in the order of their names."""
    if split is not None:
        raise Refusal(f"dialogues.validation.split: files have no split '{split}' of their own: use {{fraction: 0.05}}")
    for file in expand(options.paths, place="dialogues.source.paths"):
        for number, row in enumerate(of_file(file)):
            yield dialogue_of(
                row, f"{file.as_posix()}#{number}", columns=(options.messages, options.prompt, options.completion)
            )
