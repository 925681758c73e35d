"""What code a stage's result depends on: the modules that it can reach by imports, each with a hash of what it says.

The closure is *static*: files are read, never run. Imports inside functions count, those under `TYPE_CHECKING` do not
(they never run). What ends up in `sys.modules` would be the wrong answer: it holds the checker, differs between
machines, misses what is imported late, and needs torch.

A module's hash is taken of its syntax tree as `canonical` spells it.

- A data file that code reads is named by the module that reads it: `DATA_FILES = ("tasks/*.yaml",)`, globs relative to
  the module's folder.
- A package that exports lazily lists its public names in `_HOMES`; a reader of `package.name` reaches that name's home
  and none of the others.
- Modules that only report are listed in `REPORTING`: neither hashed nor followed, since they never reach an output.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmmodel.params.refusal import Refusal
from pipelines import canonical
from pipelines.remembered import Memory

CODE = ("lmmodel", "pipelines", "experiments")
"""The packages that DVC watches; whatever a result depends on lies in them or comes from outside the project."""

REPORTING = (
    "pipelines.canonical",
    "pipelines.devices",
    "pipelines.gate",
    "pipelines.interpreter",
    "pipelines.paths",
    "pipelines.parameters",
    "pipelines.record",
    "pipelines.remembered",
    "pipelines.scratch",
    "pipelines.tracking",
    "pipelines.watching",
    "pipelines.work",
    "lmmodel.progress",
)
"""Modules (and packages) that start, show, record and store a stage's work, and never reach its bytes."""


def closure(modules: Iterable[str], root: Path = Path()) -> dict[str, str]:
    """Every project module that `modules` can import, and every data file that these read, with its hash.

    `root` is the project's folder. Raises a Refusal where a module is not Python, or lies where DVC would not see it
    change.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or reports(name):
            continue
        seen.add(name)
        waiting += _parents(name)
        path = locate(name, root)
        if path is None:
            _refuse_outsider(name, root)
            continue
        source = _read(path.read_bytes(), name, path.name == "__init__.py", str(path))
        found[name] = source.hash
        found |= _data(source.data_files, path.parent, root)
        waiting += _reached(source, root)
    _MEMORY.keep()
    return dict(sorted(found.items()))


def hashed(name: str, content: bytes, *, is_package: bool = False) -> str:
    """The hash of module `name`, were `content` its file's."""
    return _read(content, name, is_package, name).hash


def reports(name: str) -> bool:
    """Whether module `name` only reports."""
    return any(name == module or name.startswith(f"{module}.") for module in REPORTING)


def locate(name: str, root: Path) -> Path | None:
    """The file of module `name` below `root`, if it is one of the project's."""
    parts = name.split(".")
    if parts[0] not in CODE:
        return None
    package = root.joinpath(*parts, "__init__.py")
    module = root.joinpath(*parts[:-1], f"{parts[-1]}.py")
    return next((path for path in (package, module) if path.is_file()), None)


@dataclass(frozen=True)
class _Import:
    """`import module` (no name), or `from module import name`."""

    module: str
    name: str | None = None


@dataclass(frozen=True)
class _Source:
    """What one module says, as far as anybody who depends on it needs to know."""

    hash: str
    imports: tuple[_Import, ...]
    attributes: frozenset[str]
    data_files: tuple[str, ...]
    homes: dict[str, str]


_MEMORY = Memory(Path(".lmmodel/sources.json"))


@lru_cache(maxsize=1024)
def _read(content: bytes, name: str, is_package: bool, path: str) -> _Source:
    """Module `name`, whose file holds `content`; remembered by content, so that it is parsed once."""
    told = _MEMORY.recall(_key(content, name, is_package), lambda: _facts(content, name, is_package, path))
    return _Source(
        hash=told["hash"],
        imports=tuple(_Import(*item) for item in told["imports"]),
        attributes=frozenset(told["attributes"]),
        data_files=tuple(told["data_files"]),
        homes=told["homes"],
    )


def _key(content: bytes, name: str, is_package: bool) -> str:
    """Of what is read, and of the reader."""
    return hashlib.sha256(b"\0".join([_reader(), name.encode(), bytes([is_package]), content])).hexdigest()


@lru_cache(maxsize=1)
def _reader() -> bytes:
    """A digest of these files and this Python."""
    own = [Path(__file__).read_bytes(), Path(canonical.__file__).read_bytes(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(own)).digest()


def _facts(content: bytes, name: str, is_package: bool, path: str) -> dict[str, Any]:
    """A `_Source` as plain data."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise Refusal(f"{path}:{line or 1}: is not Python: {getattr(error, 'msg', error)}") from None
    package = name if is_package else name.rpartition(".")[0]
    constants = _constants(tree)
    homes = constants.pop("_HOMES", {}) if is_package else {}
    return {
        "imports": [(item.module, item.name) for item in _imports(tree, package)],
        "attributes": sorted({node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}),
        "data_files": constants.get("DATA_FILES", ()),
        "homes": homes,
        "hash": canonical.tree_hash(_without(tree, ("_HOMES", "__all__") if is_package else ())),
    }


def _without(tree: ast.Module, names: tuple[str, ...]) -> ast.Module:
    """The module without what it assigns to `names` at its top."""
    kept = [node for node in tree.body if not any(_assigns(node, name) for name in names)]
    return ast.Module(kept, tree.type_ignores)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _refuse_outsider(name: str, root: Path) -> None:
    """A module of one's own beside the watched folders would change without anybody noticing."""
    top = name.split(".")[0]
    if top not in CODE and ((root / f"{top}.py").is_file() or (root / top / "__init__.py").is_file()):
        raise Refusal(
            f"{top}: is imported by a stage, but only {', '.join(CODE)} are watched for changes; move it there"
        )


# --- imports


def _imports(tree: ast.AST, package: str) -> Iterator[_Import]:
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            yield from (_Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            yield from (_Import(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield _Import(first.value)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that can run: as `ast.walk`, past the bodies of `if TYPE_CHECKING`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if canonical.never_runs(node):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _reached(source: _Source, root: Path) -> Iterator[str]:
    """The modules that `source` imports, with the homes of the names that it takes from lazy packages."""
    for item in source.imports:
        yield item.module
        if item.name is None:
            for package in (item.module, *_parents(item.module)):
                homes = _homes(package, root)
                yield from (homes[name] for name in source.attributes & homes.keys())
        elif item.name == "*":
            yield from _homes(item.module, root).values()
        elif locate(item.module, root) or locate(f"{item.module}.{item.name}", root):
            yield f"{item.module}.{item.name}"
            if home := _homes(item.module, root).get(item.name):
                yield home


def _homes(package: str, root: Path) -> dict[str, str]:
    path = locate(package, root)
    if path is None or path.name != "__init__.py":
        return {}
    return _read(path.read_bytes(), package, True, str(path)).homes


# --- data files


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The plain values that a module gives at its top to the names that this reader knows."""
    found = {}
    for node in tree.body:
        for name in ("DATA_FILES", "_HOMES"):
            if _assigns(node, name) and (value := getattr(node, "value", None)):
                found[name] = ast.literal_eval(value)
    return found


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _data(globs: tuple[str, ...], folder: Path, root: Path) -> dict[str, str]:
    paths = sorted(path for glob in globs for path in folder.glob(glob) if path.is_file())
    return {path.relative_to(root).as_posix(): _data_hash(path.read_bytes(), path.suffix) for path in paths}


@lru_cache(maxsize=256)
def _data_hash(content: bytes, suffix: str) -> str:
    if suffix not in (".yaml", ".yml"):
        return hashlib.sha256(content).hexdigest()
    from ruamel.yaml import YAML

    sha = hashlib.sha256()
    for event in YAML(typ="safe", pure=True).parse(content.decode()):
        said = (type(event).__name__, *(getattr(event, key, None) for key in ("anchor", "tag", "value")))
        sha.update(ascii(said).encode())
    return sha.hexdigest()
