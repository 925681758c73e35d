"""What counts as code that a result depends on, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmmodel.params.refusal import Refusal
from pipelines.fingerprint import REPORTING, closure, locate

TREE = Path(__file__).resolve().parents[2]


def tree(root: Path, **files: str) -> Path:
    """Modules below `root`, `lmmodel__loss` for lmmodel/loss.py, each package with an empty __init__."""
    for name, text in files.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in [path for path in root.rglob("*") if path.is_dir()]:
        if not (folder / "__init__.py").exists():
            (folder / "__init__.py").write_text("")
    return root


def reached(root: Path, start: str = "lmmodel.start") -> set[str]:
    """What the closure holds besides the start and the packages above it."""
    return {name for name in closure([start], root) if name not in ("lmmodel", start) and not is_package(root, name)}


def is_package(root: Path, name: str) -> bool:
    path = locate(name, root)
    return path is not None and path.name == "__init__.py"


def hash_of(root: Path, source: str) -> str:
    return closure(["lmmodel.start"], tree(root, lmmodel__start=source))["lmmodel.start"]


@pytest.mark.parametrize(
    "source",
    [
        "import lmmodel.a.deep",
        "import lmmodel.a.deep as d",
        "from lmmodel.a import deep",
        "from lmmodel.a.deep import f",
        "from .a import deep",
        "from .a.deep import f as g",
        "def late():\n    from lmmodel.a import deep\n    return deep",
        "class C:\n    import lmmodel.a.deep",
        "try:\n    import lmmodel.a.deep\nexcept ImportError:\n    pass",
        "from importlib import import_module\nimport_module('lmmodel.a.deep')",
        "import typing\nif typing.TYPE_CHECKING:\n    import torch\nelse:\n    import lmmodel.a.deep",
        "from lmmodel import b",
        "from lmmodel import *",
        "import lmmodel\nlmmodel.public()",
        "import lmmodel as l\nl.public()",
        "from lmmodel import public",
    ],
)
def test_every_way_to_import_is_followed(tmp_path: Path, source: str) -> None:
    tree(tmp_path, lmmodel__start=source, lmmodel__a__deep="", lmmodel__b="from .a import deep", lmmodel__never="")
    (tmp_path / "lmmodel/__init__.py").write_text("_HOMES = {'public': 'lmmodel.a.deep', 'private': 'lmmodel.never'}")
    assert "lmmodel.a.deep" in reached(tmp_path)
    assert ("lmmodel.never" in reached(tmp_path)) == ("import *" in source)


@pytest.mark.parametrize(
    "source",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lmmodel import other",
        "import typing\nif typing.TYPE_CHECKING:\n    import lmmodel.other",
        "from pipelines import work",
        "import pipelines.tracking.store",
        "import torch.nn as nn",
        "'from lmmodel import other'",
        "import lmmodel",
    ],
)
def test_what_never_runs_or_only_reports_is_not_followed(tmp_path: Path, source: str) -> None:
    tree(tmp_path, lmmodel__start=source, lmmodel__other="", pipelines__work="from lmmodel import other")
    tree(tmp_path, pipelines__tracking__store="from lmmodel import other")
    assert reached(tmp_path) == set()


def test_packages_above_a_module_belong_to_it(tmp_path: Path) -> None:
    tree(tmp_path, lmmodel__start="import lmmodel.a.deep", lmmodel__a__deep="")
    assert {"lmmodel", "lmmodel.a"} <= closure(["lmmodel.start"], tmp_path).keys()


BASE = '''"""A module."""

import math

LIMIT = 3  # of what


def grow(x: float, *, by: float = 1.0) -> float:
    """Larger."""
    return math.floor(x + by) + LIMIT
'''


@pytest.mark.parametrize(
    "silent",
    [
        lambda text: text.replace('"""A module."""', '"""Another story,\n\nlonger."""'),
        lambda text: text.replace('    """Larger."""\n', ""),
        lambda text: text.replace("  # of what", ""),
        lambda text: text.replace("\n\n\n", "\n"),
        lambda text: text.replace("x + by", "(x +\n        by)"),
        lambda text: text.replace("LIMIT = 3", "LIMIT = 0x3"),
        lambda text: text + '\n"""A remark at the end."""\n',
    ],
)
def test_what_does_not_run_does_not_count(tmp_path: Path, silent) -> None:
    assert hash_of(tmp_path, silent(BASE)) == hash_of(tmp_path, BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("x + by", "x - by"),
        ("by: float = 1.0", "by: float = 2.0"),
        ("*, by", "by"),
        ("math.floor", "math.ceil"),
        ("import math", "import math, cmath"),
        ("return ", "yield "),
        ("def grow", "async def grow"),
    ],
)
def test_what_runs_counts(tmp_path: Path, old: str, new: str) -> None:
    assert old in BASE
    assert hash_of(tmp_path, BASE.replace(old, new)) != hash_of(tmp_path, BASE)


def test_where_a_statement_ends_counts(tmp_path: Path) -> None:
    """The canonical spelling keeps the tree's shape: the same words nested otherwise are other code."""
    inside = "if a:\n    b()\n    c()\n"
    assert hash_of(tmp_path, inside) != hash_of(tmp_path, inside.replace("    c()", "c()"))


def test_a_hash_is_the_same_on_every_python(tmp_path: Path) -> None:
    """Written down on 3.11, 3.12.1 and 3.13: the constructs whose trees differ between them."""
    source = "\n".join(
        [
            "def f(x, /, *a, k=1, **kw) -> 'int':",
            "    '''doc'''",
            "    y = f'{x!r:>{k}}' f'' 'tail' f'{x}'",
            "    z = f'a{x}b' '' u'c'",
            "    with (open(x) as g, open(y)):",
            "        match x:",
            "            case {'k': [1, *_], **rest} if rest: return (yield)",
            "    return lambda q: [i async for i in q if i] or 1e3j or b'\\x00' or ... or 'é\\u200b'",
            "class C(metaclass=type):",
            "    x: int",
            "    try: pass",
            "    except* OSError: pass",
        ]
    )
    assert hash_of(tmp_path, source) == "c074cbd1c1e968321d04f8dead6e8ffead8678cfdbe134719896c6fcfd2a7543"


def test_a_data_file_is_hashed_with_the_module_that_names_it(tmp_path: Path) -> None:
    tree(tmp_path, lmmodel__start="DATA_FILES = ('tasks/*.yaml', 'words.txt')")
    task, words = tmp_path / "lmmodel/tasks/a.yaml", tmp_path / "lmmodel/words.txt"
    task.parent.mkdir()
    task.write_text("metric: acc  # accuracy\nshots: 1\nfunction: !function tasks.score\n")
    words.write_text("one")
    before = closure(["lmmodel.start"], tmp_path)
    assert {"lmmodel/tasks/a.yaml", "lmmodel/words.txt"} <= before.keys()
    task.write_text("# a comment, and other spacing\nmetric:   acc\n\nshots: 1\nfunction: !function tasks.score\n")
    assert closure(["lmmodel.start"], tmp_path) == before
    task.write_text("metric: acc\nshots: 2\nfunction: !function tasks.score\n")
    words.write_text("two")
    after = closure(["lmmodel.start"], tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"lmmodel/tasks/a.yaml", "lmmodel/words.txt"}


def test_a_lazy_package_may_grow(tmp_path: Path) -> None:
    """A public name more changes nothing for those who use the others; a name that moves changes what they reach."""
    tree(tmp_path, lmmodel__start="from lmmodel import one", lmmodel__a="", lmmodel__b="")
    init = tmp_path / "lmmodel/__init__.py"
    init.write_text("__all__ = ['one']\n_HOMES = {'one': 'lmmodel.a'}\n")
    before = closure(["lmmodel.start"], tmp_path)
    init.write_text("__all__ = ['one', 'two']\n_HOMES = {'one': 'lmmodel.a', 'two': 'lmmodel.b'}\n")
    assert closure(["lmmodel.start"], tmp_path) == before
    init.write_text("__all__ = ['one']\n_HOMES = {'one': 'lmmodel.b'}\n")
    assert closure(["lmmodel.start"], tmp_path).keys() == {"lmmodel", "lmmodel.start", "lmmodel.b"}


def test_broken_code_is_refused_by_file_and_line(tmp_path: Path) -> None:
    tree(tmp_path, lmmodel__start="from lmmodel import broken", lmmodel__broken="x = 1\nx = = 2\n")
    with pytest.raises(Refusal, match=r"lmmodel/broken\.py:2: is not Python"):
        closure(["lmmodel.start"], tmp_path)


def test_broken_code_that_nothing_uses_is_nobodys_concern(tmp_path: Path) -> None:
    tree(tmp_path, lmmodel__start="", lmmodel__broken="x = = 2\n")
    assert reached(tmp_path) == set()


def test_a_module_that_dvc_does_not_watch_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, experiments__mine="import helpers")
    (tmp_path / "helpers.py").write_text("")
    with pytest.raises(Refusal, match="helpers: is imported by a stage"):
        closure(["experiments.mine"], tmp_path)


@pytest.mark.parametrize("name", REPORTING)
def test_what_is_listed_as_reporting_exists(name: str) -> None:
    assert locate(name, TREE) is not None
