"""The documentation inside your own Python: it works offline on every machine, since every Python carries it.

The docstrings of the standard library, each under its module's name, signature and all, so that a model learns what
follows from `shutil.disk_usage(path)`; and the language reference that `help('assert')` shows. Read with `ast`, never
imported.

The source text is five times as much again and left out by default, because it hardly helps: given the documentation
of all other modules, lzma needs 1.739 bits a byte for that of held-out ones, and 1.712 given their source text as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Settings, Words
from lmmodel.text.docstrings import entries, modules, topics
from lmmodel.text.documents import Document


class Options(Settings):
    """`source_text`: the modules' code as well. `packages`: installed packages whose docstrings are read too."""

    source_text: bool = False
    packages: Words = ()


def documents(options: Options, *, split: str | None, scratch: Path) -> Iterator[Document]:
    """A document for each module, class, function and topic; the group is the module, or the topic."""
    if split is not None:
        raise Refusal(f"corpus.validation.split: python_docs has no split '{split}' of its own: use {{fraction: 0.05}}")
    found = list(modules(options.packages))
    for entry in entries(found):
        yield Document(entry.path, entry.module, f"{entry.heading}\n\n{entry.text}")
    for name, text in topics(found).items():
        yield Document(f"topic {name}", f"topic {name}", text)
    for module in found if options.source_text else ():
        yield Document(f"source {module.name}", module.name, module.source)
