from __future__ import annotations

import pytest

from lmmodel.text.summary import summary


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (
            "Return disk usage\nstatistics about the given path.\n\nMore.",
            "Return disk usage statistics about the given path.",
        ),
        ("close the file", "Close the file."),
        ("trunc(self): Truncates self to an Integral.", "Truncates self to an Integral."),
        ("D.popitem() -> (k, v), remove and return a pair.", "Remove and return a pair."),
        ("find_loader(name) -> self, str or None.\n\nSearch for it.", "Search for it."),
        ("(typ, [data]) = <instance>.noop()\nSend a NOOP command.", "Send a NOOP command."),
        ("distutils.spawn\n\nProvides the spawn() function.", "Provides the spawn() function."),
        ("x.__eq__(y) <==> x==y", None),
        ("A *context manager* for pseudo-\ncompiled code.", "A context manager for pseudo-compiled code."),
        ("self <= other", "self <= other."),
        ("Use :class:`~logging.Handler` and ``x`` for it.", "Use logging.Handler and x for it."),
        (
            "First one is short. Second one too. " + "Then a third " * 12 + "follows.",
            "First one is short. Second one too.",
        ),
        ("Convert a name (e.g. Foo) to another. It is: ", "Convert a name (e.g. Foo) to another."),
        ("Return a mapping with these keys:", None),
        (">>> print(1)\n1", None),
        ("- one\n- two", None),
        ("Constructor.", None),
        ("See the base class.", None),
        ("Word " * 80, None),
        ("", None),
    ],
)
def test_the_first_sentences_are_found(docstring: str, expected: str | None) -> None:
    assert summary(docstring) == expected
