"""A module's syntax tree in one spelling: without comments, formatting, positions, docstrings and the parts that never
run, the same under every Python from 3.11 to 3.13. `ast.dump` differs between them, and holds docstrings.
"""

from __future__ import annotations

import ast
import hashlib
from itertools import groupby
from typing import Any, TypeGuard

_SILENT = frozenset(
    {"lineno", "col_offset", "end_lineno", "end_col_offset", "ctx", "kind", "type_comment", "type_ignores"}
)


def tree_hash(tree: ast.Module) -> str:
    """Of all that `tree` says and can run."""
    words: list[str] = []
    _spell(tree, words.append)
    return hashlib.sha256("\n".join(words).encode("ascii")).hexdigest()


def never_runs(node: ast.AST) -> TypeGuard[ast.If]:
    """Whether `node` is an `if TYPE_CHECKING`, whose body only type checkers read."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _spell(node: Any, say: Any) -> None:
    """`node` as words: its type, then its fields that are not empty."""
    if isinstance(node, ast.AST):
        if never_runs(node):
            return _spell(node.orelse, say)
        say(type(node).__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if field not in _SILENT and value is not None and value != []:
                say(field)
                _spell(_text_parts(value) if isinstance(node, ast.JoinedStr) else value, say)
        say(")")
    elif isinstance(node, list):
        for item in node:
            if not _is_remark(item):
                _spell(item, say)
        say("]")
    else:
        say(f"{type(node).__name__} {node!a}")
    return None


def _is_remark(node: Any) -> bool:
    """A docstring, or any other statement that is nothing but text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _text_parts(parts: list[Any]) -> list[Any]:
    """The parts of an f-string, their plain text joined: Pythons cut it differently, and 3.12 leaves empty ends."""
    joined: list[Any] = []
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, ast.Constant)):
        if is_text:
            text = "".join(part.value for part in group)
            joined += [ast.Constant(text)] if text else []
        else:
            joined += group
    return joined
