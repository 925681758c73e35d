"""Imports point down only, and each tool has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.fingerprint import CODE

TREE = Path(__file__).resolve().parents[1]
MODULES = sorted(path for top in CODE for path in (TREE / top).rglob("*.py"))
FLOORS = [
    ("lmmodel.params.refusal",),
    ("lmmodel.params", "lmmodel.folder", "lmmodel.lock", "lmmodel.progress"),
    ("lmmodel.architecture", "lmmodel.text"),
    ("lmmodel.learning",),
    ("lmmodel.inference",),
    ("pipelines",),
]
"""From the ground up. Rooms of one floor do not know each other."""

STRANGERS = {("lmmodel.architecture", "lmmodel.text"), ("lmmodel.text", "lmmodel.architecture")}
DOORS = {
    "mlflow": ("pipelines.tracking",),
    "dagster": ("pipelines.dagster_dvc", "pipelines.definitions"),
    "dvc": ("pipelines.dagster_dvc",),
    "torch": ("lmmodel.architecture", "lmmodel.learning", "lmmodel.inference", "pipelines", "experiments"),
}
"""Each tool, and the rooms that may import it."""

FAMILIES = sorted(
    path.parent
    for path in (TREE / "lmmodel").rglob("__init__.py")
    if path.parent.name in ("norm", "position", "attention", "feed_forward", "block")
    or path.parent.name in ("optimizer", "schedule", "method", "source", "dialogue")
)


def name_of(path: Path) -> str:
    parts = path.relative_to(TREE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Everything that a module imports, anywhere in it; of a package's parts, the parts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import: the project writes them in full"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" if is_package(module) else module for alias in node.names)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def is_package(module: str) -> bool:
    return TREE.joinpath(*module.split("."), "__init__.py").is_file()


def inside(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def floor(module: str) -> int | None:
    """Which floor a module is on; None for the package's own front door, which exports from all."""
    return next((number for number, rooms in enumerate(FLOORS) if inside(module, rooms)), None)


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[name_of(path) for path in paths])


@named([path for path in MODULES if floor(name_of(path)) is not None])
def test_imports_point_down(path: Path) -> None:
    own = name_of(path)
    for other in imports(tree(path)):
        if (height := floor(other)) is None:
            continue
        assert height <= floor(own), f"{own} imports {other}, which lies above it"
        for one, another in STRANGERS:
            assert not (inside(own, (one,)) and inside(other, (another,))), f"{own} imports {other}"


@named(MODULES)
def test_each_tool_has_one_door(path: Path) -> None:
    own = name_of(path)
    for other in imports(tree(path)):
        top = other.partition(".")[0]
        assert top not in DOORS or inside(own, DOORS[top]), f"{own} imports {other}"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda path: path.name)
def test_kinds_know_neither_siblings_nor_other_families(family: Path) -> None:
    packages = tuple(name_of(path / "__init__.py") for path in FAMILIES)
    for path in family.glob("*.py"):
        for other in imports(tree(path)):
            assert not inside(other, packages), f"{name_of(path)} imports {other}"


def test_a_stage_imports_no_other_stage() -> None:
    stages = {f"pipelines.{name}" for name in ("design", "corpus", "tokenizer", "shards", "dialogues")}
    stages |= {"pipelines.pretrain", "pipelines.finetune", "pipelines.evaluate"}
    for path in MODULES:
        if name_of(path) in stages:
            assert not stages & set(imports(tree(path))) - {name_of(path)}, name_of(path)


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_packages_are_light(path: Path) -> None:
    """A package's own file runs with every module below it: it may export lazily, and nothing else."""
    top = [node for node in tree(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    project = {other for other in imports(ast.Module(top, [])) if inside(other, CODE)}
    assert project == ({"pipelines.interpreter"} if name_of(path) == "pipelines" else set())


def test_every_family_was_found() -> None:
    assert len(FAMILIES) == 10
