"""What Python says about itself: docstrings, and the language reference that `help()` shows.

Modules are found on disk and read with `ast`; nothing is imported, so reading documentation runs no code. Every
interpreter has its own standard library, so the text is part of the platform.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from inspect import cleandoc
from itertools import chain
from pathlib import Path

from lmmodel.params.refusal import Refusal, suggestion

_SKIPPED = {"test", "tests", "idle_test", "turtledemo", "site-packages", "dist-packages", "lib-dynload", "__pycache__"}
_PUBLIC = {
    "_pydecimal": "decimal",
    "_pyio": "io",
    "_pydatetime": "datetime",
    "_collections_abc": "collections.abc",
    "genericpath": "os.path",
    "posixpath": "os.path",
}
"""By what name people import what these modules hold."""
_SPEAKS_OF_ITSELF = ("Python implementation of", "Abstract Base Classes (ABCs) for coll", "Path operations common to")
_TOPICS = "pydoc_data.topics"
_REPEATED_LETTERS = 40  # a paragraph shorter than this may stand in several topics

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """A module's dotted name and the text of its file."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One docstring and what it belongs to.

    `sort` is module, class, function, method or property; `name` is dotted inside `module`, empty for the module
    itself; `arguments` is what stands between the parentheses, None where nothing is called.
    """

    module: str
    sort: str
    name: str
    arguments: str | None
    text: str

    @property
    def path(self) -> str:
        """`shutil.disk_usage`."""
        return f"{self.module}.{self.name}" if self.name else self.module

    @property
    def call(self) -> str:
        """`shutil.disk_usage(path)`."""
        return self.path if self.arguments is None else f"{self.path}({self.arguments})"

    @property
    def heading(self) -> str:
        """`call`, with a word before it where it is a module or a class."""
        return f"{self.sort} {self.call}" if self.sort in ("module", "class") else self.call


def modules(packages: Iterable[str] = ()) -> Iterator[Module]:
    """The standard library's modules without its tests, then those of installed `packages`, in a fixed order."""
    library = Path(sysconfig.get_paths()["stdlib"])
    places = [(library, library), *((folder.parent, folder) for folder in map(_package, packages))]
    for root, folder in places:
        for file in [folder] if folder.is_file() else _python_files(folder):
            parts = file.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Module(_PUBLIC.get(name, name), file.read_text(encoding="utf-8", errors="replace"))


def entries(found: Iterable[Module]) -> Iterator[Entry]:
    """The docstrings of `found`. One that was said before, word for word, is left out, as is a second of one name."""
    seen: set[str] = set()
    named: set[str] = set()
    for module in found:
        for entry in _of_module(module):
            if entry.text not in seen and entry.path not in named:
                seen.add(entry.text)
                named.add(entry.path)
                yield entry


def topics(found: Iterable[Module]) -> dict[str, str]:
    """The language reference by topic. What a shorter topic says as well is left to that one.

    The long topics quote the short ones whole, and a text that is held out must not stand in what is trained on.
    """
    said: set[str] = set()
    result: dict[str, str] = {}
    for name, text in sorted(_topics(found).items(), key=lambda item: (len(item[1]), item[0])):
        paragraphs = [part for part in re.split(r"\n[ \t]*\n", text) if part.strip() not in said]
        said.update(part.strip() for part in paragraphs if len(part.strip()) >= _REPEATED_LETTERS)
        result[name] = "\n\n".join(paragraphs)
    return dict(sorted(result.items()))


def _topics(found: Iterable[Module]) -> dict[str, str]:
    for module in found:
        if module.name == _TOPICS:
            for node in ast.parse(module.source).body:
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                    return dict(ast.literal_eval(node.value))
    return {}


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.stem.isidentifier() or path.name in _SKIPPED:
            continue
        if path.is_dir():
            yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


def _package(name: str) -> Path:
    spec = PathFinder.find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        from importlib.metadata import packages_distributions

        installed = sorted(packages_distributions())
        raise Refusal(f"packages: '{name}' is not an installed package of Python modules{suggestion(name, installed)}")
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def _of_module(module: Module) -> Iterator[Entry]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in somebody's docstring
        try:
            tree = ast.parse(module.source)
        except (SyntaxError, ValueError):  # the library holds templates of code
            return
    text = _docstring(tree)
    if text and not text.startswith(_SPEAKS_OF_ITSELF):
        yield Entry(module.name, "module", "", None, text)
    for name, node, owner in _definitions(tree.body, "", None):
        if text := _docstring(node):
            sort, arguments = _shape(node, owner)
            yield Entry(module.name, sort, name, arguments, text)


def _docstring(node: ast.Module | Definition) -> str:
    text = cleandoc(ast.get_docstring(node, clean=False) or "").strip()
    return "" if "\0" in text else text


def _definitions(
    body: Iterable[ast.stmt], prefix: str, owner: ast.ClassDef | None
) -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
    """Classes and functions with their dotted names, also those under `if` and `try`, but none inside a function."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node, owner
            yield from _definitions(node.body, f"{prefix}{node.name}.", node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node, owner
        elif isinstance(node, ast.If | ast.Try | ast.With):
            parts = chain(node.body, getattr(node, "orelse", ()), getattr(node, "finalbody", ()))
            handlers = (handler.body for handler in getattr(node, "handlers", ()))
            yield from _definitions(chain(parts, *handlers), prefix, owner)


def _shape(node: Definition, owner: ast.ClassDef | None) -> tuple[str, str | None]:
    """The sort of a definition, and its arguments as they are written, without annotations."""
    if isinstance(node, ast.ClassDef):
        start = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        return "class", _arguments(start[0].args, bound=True) if start else None
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    if marks & {"property", "cached_property", "setter", "getter", "classproperty", "abstractproperty"}:
        return "property", None
    if owner is None and [argument.arg for argument in node.args.args[:1]] == ["self"]:  # typing.Never and its like
        return "property", None
    bound = owner is not None and "staticmethod" not in marks
    return "method" if owner else "function", _arguments(node.args, bound=bound)


def _arguments(written: ast.arguments, *, bound: bool) -> str:
    for argument in ast.walk(written):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if bound and (first := written.posonlyargs or written.args):
        if len(written.defaults) == len(written.posonlyargs) + len(written.args):
            del written.defaults[0]
        del first[0]
    return ast.unparse(written)
