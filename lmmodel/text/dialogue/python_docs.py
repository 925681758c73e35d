"""Questions about Python's own modules, with answers taken from their documentation.

What a function does, given its name and signature; which arguments it takes; what one defaults to; how it is called;
which function does something; what a module is for. Split by module, as the documents are: what is asked about a
module that is held out was never trained on.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Fraction, Settings, Words
from lmmodel.text.dialogues import Dialogue, Message
from lmmodel.text.docstrings import Entry, entries, modules, topics
from lmmodel.text.summary import summary

_LONGEST_CALL_LETTERS = 120
_LONGEST_DEFAULT_LETTERS = 40

_ASKED = {
    "describe": (
        "What does {call} do?",
        "What does the {sort} {call} do?",
        "Describe {call}.",
        "What is {call} for?",
    ),
    "class": ("What is the class {call}?", "What is a {call}?", "Describe the class {call}.", "What is {call} for?"),
    "property": ("What is {call}?", "What does the attribute {call} hold?"),
    "module": ("What is the module {call} for?", "What does the module {call} do?", "Describe the module {call}."),
    "topic": ("What does the language reference say about {call}?", "Explain the topic {call}."),
    "signature": ("How do I call {path}?", "What is the signature of {path}?", "How is {path} called?"),
    "arguments": ("Which arguments does {call} take?", "What are the arguments of {call}?", "What can I give {call}?"),
    "default": ("What does {argument} default to in {call}?", "What is the default of {argument} in {call}?"),
    "find": (
        'Which {sort} of {module} does this: "{answer}"',
        'In the module {module}, what does this: "{answer}"',
    ),
    "where": ("Which module has {name}?", "Where do I find {name}?", "What do I import to use {name}?"),
}


class Options(Settings):
    """`packages`: installed packages to ask about as well. `others`: how many of the calls, of those that can be
    described, are asked about in each other way too (their signature, arguments, a default, their place).
    """

    packages: Words = ()
    others: Fraction = 0.15


def dialogues(options: Options, *, split: str | None, scratch: Path) -> Iterator[Dialogue]:
    """The dialogues, module by module; the group is the module, or the topic."""
    if split is not None:
        raise Refusal(
            f"dialogues.validation.split: python_docs has no split '{split}' of its own: use {{fraction: 0.05}}"
        )
    found = list(modules(options.packages))
    for entry in entries(found):
        answer = summary(entry.text)
        if answer and not _is_private(entry) and len(entry.call) <= _LONGEST_CALL_LETTERS:
            yield _describe(entry, answer)
            yield from _others(entry, answer, share=options.others)
    for name, text in topics(found).items():
        title, _, body = text.partition("\n\n")
        if answer := summary(body):
            about = title.split("\n")[0].replace('"', "").replace("The ", "the ", 1)
            yield _dialogue("topic", f"topic {name}", f"topic {name}", {"call": about}, answer)


def _describe(entry: Entry, answer: str) -> Dialogue:
    task = entry.sort if entry.sort in ("class", "property", "module") else "describe"
    return _ask(task, entry, answer)


def _others(entry: Entry, answer: str, *, share: float) -> Iterator[Dialogue]:
    """The other questions about a call, each with its share of all."""
    if entry.sort not in ("function", "method", "class") or entry.name.endswith("__"):
        return
    asking: dict[str, Callable[[], Dialogue | None]] = {
        "signature": lambda: _ask("signature", entry, f"{entry.call}") if entry.arguments is not None else None,
        "arguments": lambda: _ask("arguments", entry, _listed(entry)) if entry.arguments is not None else None,
        "default": lambda: _default(entry),
        "find": lambda: _ask("find", entry, entry.call, answer=answer) if entry.sort != "class" else None,
        "where": lambda: _ask("where", entry, f"The module {entry.module}.") if "." not in entry.name else None,
    }
    for task, ask in asking.items():
        if _chance(f"{entry.path} {task}") < share and (dialogue := ask()):
            yield dialogue


def _ask(task: str, entry: Entry, reply: str, **more: str) -> Dialogue:
    words = {"call": entry.call, "path": entry.path, "module": entry.module, "name": entry.name, "sort": entry.sort}
    return _dialogue(task, entry.path, entry.module, {**words, **more}, reply)


def _dialogue(task: str, path: str, group: str, words: dict[str, str], reply: str) -> Dialogue:
    ways = _ASKED[task]
    question = ways[int(_chance(f"{path} {task} way") * len(ways))].format(**words)
    return Dialogue(f"{task} {path}", group, task, (Message("user", question), Message("assistant", reply)))


def _default(entry: Entry) -> Dialogue | None:
    """What one of its arguments, chosen by hash, defaults to."""
    given = [(name, default) for name, default in _parameters(entry) if default is not None]
    given = [(name, default) for name, default in given if len(default) <= _LONGEST_DEFAULT_LETTERS]
    if not given:
        return None
    name, default = given[int(_chance(f"{entry.path} default argument") * len(given))]
    return _ask("default", entry, f"{name} defaults to {default}.", argument=name)


def _listed(entry: Entry) -> str:
    """`It takes src and dst.`"""
    names = [name for name, _ in _parameters(entry)]
    if not names:
        return "It takes no arguments."
    *others, last = names
    return f"It takes {', '.join(others)}{' and ' if others else ''}{last}."


def _parameters(entry: Entry) -> list[tuple[str, str | None]]:
    """Names, with stars, and defaults as they are written."""
    written = ast.parse(f"def f({entry.arguments or ''}): pass").body[0]
    assert isinstance(written, ast.FunctionDef)
    arguments = written.args
    plain = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    found = list(zip(plain, defaults, strict=True))
    if arguments.vararg:
        found.append(("*" + arguments.vararg.arg, None))
    found += [(one.arg, default) for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        found.append(("**" + arguments.kwarg.arg, None))
    return [(name, ast.unparse(default) if default else None) for name, default in found]


def _is_private(entry: Entry) -> bool:
    parts = entry.path.split(".")
    return any(part.startswith("_") and not part.endswith("__") for part in parts)


def _chance(key: str) -> float:
    """A number from 0 to 1 that `key` decides."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8, person=b"question").digest(), "big") / 2**64
