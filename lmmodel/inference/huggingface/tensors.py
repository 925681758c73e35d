"""The safetensors of a Hugging Face folder, one file or several with an index. Pickled weights are never opened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_DTYPES = ("float32", "bfloat16", "float16")
"""What float32 holds exactly."""


class Tensors:
    """Tensors by name, read when asked for. `base`: the module that names begin with, where a file leaves it out."""

    def __init__(self, folder: Path, *, base: str) -> None:
        self.folder, self._open = folder, ExitStack()
        self._files: dict[str, Any] = {}
        self._names: dict[str, tuple[str, str]] = {}
        for name, file in _listed(folder).items():
            self._names[name] = (file, name)
        if not any(name.startswith(f"{base}.") for name in self._names):
            self._names = {_full(name, base): place for name, place in self._names.items()}
        self.asked: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def get(self, name: str) -> Tensor:
        """The tensor called `name` as it is stored; a Refusal where there is none, or float32 cannot hold it."""
        if name not in self._names:
            raise Refusal(f"{self.folder}: its safetensors hold no {name}, which config.json asks for")
        self.asked.add(name)
        file, stored = self._names[name]
        tensor: Tensor = self._file(file).get_tensor(stored)
        if str(tensor.dtype).removeprefix("torch.") not in _DTYPES:
            raise Refusal(f"{self.folder / file}: {name} is {tensor.dtype}; what can be read is {', '.join(_DTYPES)}")
        return tensor

    def rest(self, left_out: Iterable[str]) -> list[str]:
        """The names nobody asked for, without those that a pattern in `left_out` finds."""
        patterns = [re.compile(pattern) for pattern in left_out]
        unasked = sorted(self._names.keys() - self.asked)
        return [name for name in unasked if not any(pattern.search(name) for pattern in patterns)]

    def left(self, left_out: Iterable[str]) -> list[str]:
        """The names nobody asked for that a pattern in `left_out` finds."""
        return sorted(self._names.keys() - self.asked - set(self.rest(left_out)))

    def _file(self, file: str) -> Any:
        from safetensors import SafetensorError, safe_open

        if file not in self._files:
            try:
                opened = safe_open(self.folder / file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise Refusal(f"{self.folder / file}: cannot be read: {error}") from None
            self._files[file] = self._open.enter_context(opened)
        return self._files[file]


def _full(name: str, base: str) -> str:
    return name if name.startswith(("lm_head.", "embed_out.")) else f"{base}.{name}"


def _listed(folder: Path) -> Mapping[str, str]:
    """The file that each tensor of `folder` is in."""
    from safetensors import SafetensorError, safe_open

    if (folder / WEIGHTS).is_file():
        try:
            with safe_open(folder / WEIGHTS, framework="pt") as file:
                return dict.fromkeys(file.keys(), WEIGHTS)
        except (SafetensorError, OSError) as error:
            raise Refusal(f"{folder / WEIGHTS}: cannot be read: {error}") from None
    if (folder / INDEX).is_file():
        return _indexed(folder)
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    if pickled:
        raise Refusal(
            f"{folder / pickled[0]}: is pickled, which can run code, and is not opened; the folder has no {WEIGHTS}"
        )
    raise Refusal(f"{folder}: has neither {WEIGHTS} nor {INDEX}")


def _indexed(folder: Path) -> Mapping[str, str]:
    path = folder / INDEX
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path}: does not say where tensors are ({error!r})") from None
    for file in sorted(set(files.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise Refusal(f"{path}: names {file}, which is no file of the folder")
    result: dict[str, str] = files
    return result
