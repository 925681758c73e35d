"""Only the code that design fingerprinted runs in a stage, also when it is imported an hour after the stage began."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from lmmodel.params.refusal import Refusal
from pipelines import fingerprint


@contextmanager
def only(code: Mapping[str, str]) -> Iterator[None]:
    """Inside, a module of `code` (name -> hash) whose file has another hash by now is refused when it is imported."""
    gate = _Gate(code)
    sys.meta_path.insert(0, gate)
    try:
        yield
    finally:
        sys.meta_path.remove(gate)


def strangers(code: Mapping[str, str]) -> list[str]:
    """Kinds of one's own that ran from other text than `code` says: they are loaded by path, past the gate."""
    loaded = {name: getattr(sys.modules.get(name), "__source__", None) for name in code}
    return [
        name for name, source in loaded.items() if source is not None and fingerprint.hashed(name, source) != code[name]
    ]


class _Gate(MetaPathFinder):
    """Asked before everybody else where a module is; never finds one, but looks at its file."""

    def __init__(self, code: Mapping[str, str]) -> None:
        self._code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = fingerprint.locate(fullname, Path()) if fullname in self._code else None
        if file is not None:
            now = fingerprint.hashed(fullname, file.read_bytes(), is_package=file.name == "__init__.py")
            if now != self._code[fullname]:
                raise Refusal(
                    f"{file}: changed after this stage began, and before the stage came to use it.\n"
                    f"Run `dvc repro` again; put the file back as it was, and it goes on from what it last saved."
                )
        return None
