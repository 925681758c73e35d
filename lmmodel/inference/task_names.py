"""Which tasks there are, told in milliseconds.

This project's own are the files under `tasks/`. lm-eval's are named inside some 14,000 YAML files, and its own index
takes six seconds to read them: far too long for a door that every stage goes through. Only six top-level keys decide a
name, so they are found as text, without importing lm-eval (0.5 s when the files are warm, 3 s when cold; equal to its
index), once: the names are kept under `.lmmodel` by lm-eval's version. The default tasks never get that far.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from lmmodel.params.refusal import suggestion

FOLDER = Path(__file__).parent / "tasks"
KEPT = Path(".lmmodel")

_KEY = re.compile(rb"^[\"']?(task|group|tag|include|class)[\"']?[ \t]*:[ \t]*(.*(?:\n(?:[ \t]+|- ).*)*)", re.MULTILINE)
_COMMENT = re.compile(r"(^|\s)#.*")


def own() -> tuple[str, ...]:
    """This project's tasks."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def check(name: str) -> str:
    """`name` where it is a task, a group or a tag; otherwise a ValueError with the nearest that is."""
    if name in own() or name in _kept() or name in _scanned():
        return name
    known = (*own(), *_scanned())
    raise ValueError(f"'{name}' is neither a task of this project nor of lm-eval{suggestion(name, known)}")


def _kept() -> frozenset[str]:
    """The names that an earlier scan of this version of lm-eval left behind."""
    try:
        return frozenset(_keeping().read_text(encoding="utf-8").split("\n"))
    except (OSError, PackageNotFoundError):
        return frozenset()


def _keeping() -> Path:
    return KEPT / f"lm_eval-{version('lm_eval')}-tasks.txt"


@lru_cache(maxsize=1)
def _scanned() -> tuple[str, ...]:
    """All of lm-eval's names, from its files; left behind for the next process where the project has a place for it."""
    spec = find_spec("lm_eval")
    if spec is None or spec.origin is None:
        return ()
    names = tuple(sorted(scan(Path(spec.origin).parent / "tasks")))
    if KEPT.is_dir():
        fresh = _keeping().with_suffix(f".{os.getpid()}")
        try:
            fresh.write_text("\n".join(names), encoding="utf-8")
            fresh.replace(_keeping())
        except OSError:
            fresh.unlink(missing_ok=True)
    return names


def scan(folder: Path) -> set[str]:
    """Every task, group and tag that the YAML files below `folder` define."""
    read: dict[str, dict[str, str]] = {}
    names: set[str] = set()
    for place, _, files in os.walk(folder):
        for file in files:
            if file.endswith(".yaml"):
                names |= _defines(_keys(os.path.join(place, file), read))
    return names


def _keys(path: str, read: dict[str, dict[str, str]]) -> dict[str, str]:
    """The deciding keys of a file and of those it includes; its own win. `read`: those already known."""
    if path not in read:
        read[path] = {}  # a file that includes itself ends here
        with open(path, "rb") as file:
            text = file.read().replace(b"\r", b"")
        keys = {key.decode(): value.decode() for key, value in _KEY.findall(text)}
        for included in _entries(keys.pop("include", "")):
            other = os.path.normpath(os.path.join(os.path.dirname(path), included))
            if os.path.isfile(other):
                read[path].update(_keys(other, read))
        read[path].update(keys)
    return read[path]


def _defines(keys: dict[str, str]) -> set[str]:
    if "group" in keys and "class" not in keys:
        return {_scalar(keys["group"])}
    if "task" not in keys:
        return set()
    return {_scalar(keys["task"]), *_entries(keys.get("tag", ""))}


def _entries(value: str) -> list[str]:
    """A YAML value that is one word or a list of words, in either notation."""
    text = "\n".join(_COMMENT.sub("", line) for line in value.split("\n")).strip()
    if text.startswith("["):
        return [_scalar(word) for word in text.strip("[]").split(",")]
    if text.startswith("- "):
        return [_scalar(line.strip()[2:]) for line in text.split("\n") if line.strip().startswith("- ")]
    return [_scalar(text)] if text else []


def _scalar(value: str) -> str:
    text = value.strip()
    if text[:1] in ("'", '"'):
        return text[1:].partition(text[0])[0]
    return _COMMENT.sub("", text.partition("\n")[0]).strip()
