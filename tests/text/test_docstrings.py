from __future__ import annotations

import subprocess
import sys

import pytest

from lmmodel.params.refusal import Refusal
from lmmodel.text.docstrings import Entry, Module, entries, modules, topics

SOURCE = '''
"""What the module is for."""
import never_installed

def plain(a, b=1, *rest, key: int = 2, **more) -> int:
    """Add."""
    def inner():
        """Not reachable."""

async def waiting(): "Wait."

class Thing(Base):
    """A thing."""
    def __init__(self, size=3): pass
    def method(self, x, /, y=None):
        """Do it."""
    @staticmethod
    def free(self_like, z): "Without an owner."
    @classmethod
    def other(cls, w): "Of the class."
    @property
    def held(self): "What it holds."
    class Part:
        """A part."""

try:
    pass
except ImportError:
    def fallback(): "Instead."
else:
    def repeated(): "Add."
'''


def headings(source: str) -> list[str]:
    return [entry.heading for entry in entries([Module("pack.mod", source)])]


def test_every_reachable_docstring_has_its_heading() -> None:
    assert headings(SOURCE) == [
        "module pack.mod",
        "pack.mod.plain(a, b=1, *rest, key=2, **more)",
        "pack.mod.waiting()",
        "class pack.mod.Thing(size=3)",
        "pack.mod.Thing.method(x, /, y=None)",
        "pack.mod.Thing.free(self_like, z)",
        "pack.mod.Thing.other(w)",
        "pack.mod.Thing.held",
        "class pack.mod.Thing.Part",
        "pack.mod.fallback()",
    ]


def test_a_docstring_said_twice_is_kept_once() -> None:
    twice = [Module("a", '"""Same."""'), Module("b", '"""Same."""')]
    assert [entry.module for entry in entries(twice)] == ["a"]


def test_what_is_not_python_is_passed_over() -> None:
    assert headings("print 'two'") == []


def test_a_self_with_a_default_leaves_the_other_defaults_in_place() -> None:
    (entry,) = entries([Module("m", "class C:\n    def f(self=None, a=1):\n        'Say.'")])
    assert entry.call == "m.C.f(a=1)"


def test_the_standard_library_is_read_without_its_tests_and_without_importing() -> None:
    code = (
        "import sys; from lmmodel.text.docstrings import *; found = list(modules());"
        "names = {m.name for m in found}; assert {'shutil', 'asyncio.tasks', 'json'} <= names, names;"
        "assert not [n for n in names if 'test' in n.split('.') or 'site-packages' in n];"
        "calls = {e.call for e in entries(found)}; assert 'shutil.disk_usage(path)' in calls;"
        "assert len(calls) > 5000; assert 'this' not in sys.modules and 'tkinter' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_topics_do_not_quote_one_another() -> None:
    found = topics(modules())
    assert len(found) > 50
    said = [{part.strip() for part in text.split("\n\n") if len(part.strip()) >= 40} for text in found.values()]
    assert sum(map(len, said)) == len(set().union(*said))


def test_an_installed_package_is_read_and_a_missing_one_is_refused() -> None:
    names = {module.name for module in modules(["tqdm"])}
    assert "tqdm.std" in names
    with pytest.raises(Refusal, match=r"packages: 'tqmd' is not an installed package.*did you mean 'tqdm'"):
        list(modules(["tqmd"]))


def test_an_entry_knows_what_it_is_called() -> None:
    entry = Entry("os.path", "function", "join", "a, *p", "Join.")
    assert (entry.path, entry.call, entry.heading) == ("os.path.join", "os.path.join(a, *p)", "os.path.join(a, *p)")
    assert Entry("os", "module", "", None, "Miscellaneous.").heading == "module os"
