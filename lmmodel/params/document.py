"""A YAML file that remembers on which line everything stands.

YAML 1.2, read with ruamel as DVC reads it, so that `3e-4` is a number and `yes` a word for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmmodel.params.refusal import Refusal

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """The plain data of a file, and the line (from 1) of every key and list entry."""

    name: str
    data: dict[str, Any]
    lines: dict[Keys, int]

    def line(self, keys: Keys) -> int | None:
        """Where `keys` stand; of the nearest parent where they are not written out."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys)

    def refuse(self, keys: Keys, text: str) -> Refusal:
        """`params.yaml:18: model.design.attention.kind <text>`, ready to be raised."""
        line = self.line(keys)
        place = self.name if line is None else f"{self.name}:{line}"
        path = ".".join(str(key) for key in keys)
        return Refusal(f"{place}: {path} {text}" if path else f"{place}: {text}")


def read(path: str | Path) -> Document:
    """The document at `path`; a Refusal where it is missing, empty, not YAML, or says a key twice."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{path}: there is no such file here ({Path.cwd().name}/)") from None
    except IsADirectoryError:
        raise Refusal(f"{path}: is a folder, not a YAML file") from None
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: is not text in UTF-8 (byte {error.start})") from None
    return parse(text, name=str(path))


def parse(text: str, *, name: str) -> Document:
    """As `read`, from text; `name` is what errors call it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        key = (error.problem or "").split('"')[1:2] or [""]
        raise Refusal(f"{_place(name, error)}: key '{key[0]}' is written twice") from None
    except MarkedYAMLError as error:
        raise Refusal(
            f"{_place(name, error)}: is not YAML: {' '.join((error.problem or 'unreadable').split())}"
        ) from None
    except YAMLError as error:
        raise Refusal(f"{name}: is not YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        raise Refusal(f"{name}: is empty; it should hold keys and values")
    if not isinstance(tree, dict):
        raise Refusal(f"{name}: should hold keys and values, not {_shape(tree)}")
    lines: dict[Keys, int] = {}
    data = _plain(tree, (), lines, name)
    return Document(name, data, lines)


def _place(name: str, error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{name}:{mark.line + 1}" if mark else name


def _shape(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"'{value}'"


def _plain(node: Any, keys: Keys, lines: dict[Keys, int], name: str) -> Any:
    """`node` without ruamel's types, its lines noted on the way."""
    if isinstance(node, dict):
        result = {}
        for key, value in node.items():
            if not isinstance(key, str):
                raise Refusal(f"{name}:{_line_of(node, key)}: key {key!r} should be a word")
            lines[(*keys, str(key))] = _line_of(node, key)
            result[str(key)] = _plain(value, (*keys, str(key)), lines, name)
        return result
    if isinstance(node, list):
        for index, _ in enumerate(node):
            lines[(*keys, index)] = _line_of(node, index)
        return [_plain(value, (*keys, index), lines, name) for index, value in enumerate(node)]
    if type(node).__name__ == "ScalarBoolean":  # ruamel's truth value with an anchor is an int
        return bool(node)
    for plain in (bool, int, float, str):
        if isinstance(node, plain):
            return plain(node)
    return node


def _line_of(node: Any, key: Any) -> int:
    place = node.lc.data.get(key) if node.lc.data else None
    return (place[0] if place else node.lc.line) + 1
