"""The first thing that a docstring says, as a plain sentence or two."""

from __future__ import annotations

import re

_LONGEST_LETTERS = 240
_LONG_ENOUGH_LETTERS = 100  # one more sentence is taken only up to here
_FEWEST_WORDS = 2

# `D.get(k) -> a value`, `(typ, [data]) = <instance>.noop()`, `x.__eq__(y) <==> x == y`: a line that is no sentence
_PROTOTYPE = re.compile(r"(?:\(.*\) = )?<?[\w.]+>?\.?\w*\([^()]*\)(?:\s*(?:[-=]+>|<==>)\s*\S+(?:\s\S+){0,3})?")
_CALL = re.compile(r"^(?:[\w.]+\([^()]*\)\s*(?:(?:->|=>)\s*(?:\([^()]*\)|[\w\[\] .|]+?))?\s*(?:--|[:.,\-])\s+)+")
_LIST = re.compile(r"[-+=~^#]|\* |\d+[.)]\s|:\w+ ?\w*:|@\w|>>>")
_ROLE = re.compile(r":(?:\w+:)*\w+:`[~!]?(?:[^`<]*<)?([^`>]+)>?`")
_EMPHASIS = re.compile(r"\*(\w[\w ]*)\*")
_KEY = re.compile(r"^\([^()\s]{1,7}\) (?=[A-Z])")  # idlelib names the key that something is bound to
_SENTENCE = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!\beg\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)(?<!cf\.)\s+(?=[A-Z\"'(])")
_NO_PROSE = re.compile(
    r">>>|::|\s[|*=~^-]{2,}|[|\\{}]|\.\.\.$|generated from|^(?:See|TODO|XXX|FIXME|Bug|SF)\b|^[^\w\"'(]", re.IGNORECASE
)
_CODE = {"self", "other", "cls", "str", "x"}


def summary(docstring: str) -> str | None:
    """The first sentences of `docstring`, on one line, without markup; None where it begins with no such thing."""
    lines = _first_paragraph(docstring)
    if any(_LIST.match(line) for line in lines):
        return None
    text = " ".join(re.sub(r"(?<=\w-)\n(?=[a-z])", "", "\n".join(lines)).split())  # pseudo-\ncompiled
    text = _EMPHASIS.sub(r"\1", _ROLE.sub(r"\1", text).replace("``", "").replace("`", ""))
    found = _first_sentences(_KEY.sub("", _CALL.sub("", text)))
    if _NO_PROSE.search(found) or len(re.findall(r"[A-Za-z]{2,}", found)) < _FEWEST_WORDS:
        return None
    return _ended(found) if len(found) <= _LONGEST_LETTERS else None


def _first_paragraph(docstring: str) -> list[str]:
    """The lines of the first paragraph that says more than what the thing is called."""
    for paragraph in re.split(r"\n[ \t]*\n", docstring.strip()):
        lines = [line.strip() for line in paragraph.split("\n")]
        while lines and _PROTOTYPE.fullmatch(lines[0]):
            del lines[0]
        if len(" ".join(lines).split()) > 1:
            return lines
    return []


def _first_sentences(text: str) -> str:
    sentences = _SENTENCE.split(text)
    while len(sentences) > 1 and sentences[-1].endswith(":"):
        sentences.pop()
    taken = sentences[0]
    for sentence in sentences[1:]:
        if len(taken) + 1 + len(sentence) > _LONG_ENOUGH_LETTERS:
            break
        taken += " " + sentence
    return taken


def _ended(text: str) -> str | None:
    """`text` as a sentence: a capital, a full stop; None where it announces what is not there."""
    if text.endswith((":", ",", ";", "-")):
        return None
    first = text.split(" ", 1)[0]
    if first.isalpha() and first.islower() and first not in _CODE:
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ".)", '."', ".'")) else text + "."
