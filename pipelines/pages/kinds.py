"""The menu that the comments of params.yaml only hint at: families of parts, their kinds, what each can be told.

Read off the files themselves: a kind is there because its file is.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmmodel.architecture.families import PARTS
from lmmodel.learning.families import METHOD, OPTIMIZER, SCHEDULE
from lmmodel.params.kinds import OWN_FOLDER, Family
from lmmodel.params.refusal import Refusal, suggestion
from lmmodel.params.settings import Settings
from lmmodel.text.settings import DIALOGUE, SOURCE
from pipelines import wording

FAMILIES: dict[str, Family] = {
    **PARTS,
    **{family.name: family for family in (OPTIMIZER, SCHEDULE, METHOD, SOURCE, DIALOGUE)},
}
"""Everything that has kinds, in the order of params.yaml."""

_PLACES = {
    **{name: f"model.design.{name}" for name in PARTS},
    "optimizer": "pretrain.optimizer, finetune.optimizer",
    "schedule": "pretrain.schedule, finetune.schedule",
    "method": "finetune.method",
    "source": "corpus.source",
    "dialogue": "dialogues.source",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """A family, and a kind of it."""
    parser.add_argument("family", nargs="?", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("kind", nargs="?", metavar="KIND", help="one of the family's, or a file of your own")


def show(told: argparse.Namespace) -> None:
    """Print the menu, one family's part of it, or one kind in full."""
    if told.family is None:
        lines = list(menu())
    elif told.family not in FAMILIES:
        names = list(FAMILIES)
        raise Refusal(
            f"lmmodel kinds: '{told.family}' is not one of {', '.join(names)}{suggestion(told.family, names)}"
        )
    elif told.kind is None:
        lines = [*family_page(told.family), f"One of them in full: lmmodel kinds {told.family} {_first(told.family)}"]
    else:
        lines = list(kind_page(told.family, told.kind))
    print("\n".join(lines))


def menu() -> Iterator[str]:
    """Every family with its kinds."""
    for name in FAMILIES:
        yield f"{name}   ({_PLACES[name]})"
        yield from (f"  {line}" for line in family_page(name))
        yield ""
    yield "One of them in full: lmmodel kinds FAMILY KIND"


def family_page(name: str) -> list[str]:
    """The kinds of one family: what each is, and the names of its options."""
    family = FAMILIES[name]
    rows = [(kind, family.summary(kind).rstrip("."), _names(family.options(kind))) for kind in family.names()]
    start = max([len(kind) for kind, _, _ in rows] + [len("yours") if family.own else 0]) + 3
    lines = []
    for kind, summary, options in rows:
        lines += wording.entry(kind, summary, at=start, columns=wording.width() - 2)
        if options:
            lines += wording.entry("", options, at=start + 2, columns=wording.width() - 2)
    if family.own:
        found = own_kinds(family)
        text = f"{OWN_FOLDER}/*.py with a class {family.member}; found: {', '.join(found) or 'none yet'}"
        lines += wording.entry("yours", text, at=start, columns=wording.width() - 2)
    return lines


def kind_page(name: str, kind: str) -> Iterator[str]:
    """One kind in full: the idea, its source, what it can be told with types and defaults, and its file."""
    family = FAMILIES[name]
    try:
        file, options = family.file(kind), family.options(kind)
    except Refusal as refusal:
        raise Refusal(f"lmmodel kinds {name}: {refusal}") from None
    yield from family.docstring(kind).splitlines()
    yield ""
    rows = (
        [
            (field, _type(schema), _default(schema))
            for field, schema in options.model_json_schema()["properties"].items()
        ]
        if options.model_fields
        else []
    )
    if rows:
        yield from wording.table([("option", "what it takes", "default"), *rows], "<<<", indent=2)
        yield ""
    else:
        yield "  It has no options."
        yield ""
    if options.__doc__ and options.__doc__ != Settings.__doc__:
        yield from _paragraphs(options.__doc__)
        yield ""
    yield from wording.entry("in params.yaml", f"{_PLACES[name]}: {_example(kind, rows)}", at=19, indent=2)
    yield f"  its file         {_relative(file)}"


def own_kinds(family: Family) -> list[str]:
    """A person's own files below `experiments/` that define what this family's kinds define."""
    return [
        path.as_posix()
        for path in sorted(Path(OWN_FOLDER).rglob("*.py"))
        if {"Options", family.member} <= _defined(path)
    ]


def _defined(path: Path) -> set[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return set()
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _first(name: str) -> str:
    """The kind with most to say, as an example."""
    family = FAMILIES[name]
    return max(family.names(), key=lambda kind: len(family.options(kind).model_fields), default="KIND")


def _names(options: type[Settings]) -> str:
    """`kv_heads | queries_per_kv, bias`: what excludes one another stands together."""
    groups = getattr(options, "alternatives", ())
    together = {name: " | ".join(group) for group in groups for name in group}
    return ", ".join(dict.fromkeys(together.get(name, name) for name in options.model_fields))


def _type(schema: dict[str, Any]) -> str:
    """What an option takes, in words, from its JSON schema."""
    if "anyOf" in schema:
        return wording.listed([_type(item) for item in schema["anyOf"] if item.get("type") != "null"], "or")
    if "enum" in schema:
        return wording.listed([str(value) for value in schema["enum"]], "or")
    if "const" in schema:
        return str(schema["const"])
    words = {"boolean": "true or false", "string": "a word", "array": "a list", "object": "keys and values"}
    if schema.get("type") in ("integer", "number"):
        return ("a whole number" if schema["type"] == "integer" else "a number") + _bounds(schema)
    return words.get(schema.get("type", "object"), "keys and values")


def _bounds(schema: dict[str, Any]) -> str:
    low = f" from {schema['minimum']:g}" if "minimum" in schema else ""
    low = f" above {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else low
    high = f" to {schema['maximum']:g}" if "maximum" in schema else ""
    high = f" below {schema['exclusiveMaximum']:g}" if "exclusiveMaximum" in schema else high
    return low + high


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _example(kind: str, rows: list[tuple[str, str, str]]) -> str:
    told = [f"{name}: {default}" for name, _, default in rows if default != "-"][:2]
    return f"{{kind: {', '.join([kind, *told])}}}"


def _paragraphs(docstring: str) -> Iterator[str]:
    import inspect

    for paragraph in inspect.cleandoc(docstring).split("\n\n"):
        yield from wording.entry("", " ".join(paragraph.split()), at=2)


def _relative(path: Path) -> str:
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
