"""This project's tokenizers in Hugging Face's clothes, and back.

What is written is tokenizer.json, which the package `tokenizers` reads: pieces of bytes, pieces and merges, or pieces
and their scores. It reads text as ours does, but for the letter that sentencepiece writes spaces with, which it takes
for a space. Beside it lies tokenizer.model, from which ours is brought back.

Tokenizers of others are not carried over: ours know where a text begins and who speaks, and add and fold no space.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from lmmodel import folder as folders
from lmmodel.text.pieces import SPACE
from lmmodel.text.tokenizer import DESCRIPTION, MODEL, SPECIALS, Tokenizer

CONFIG = "tokenizer_config.json"
_KEY = "lmmodel"
_NONE = "none; token ids alone go in and out"


def carry(folder: Path, place: Path) -> str:
    """Write the tokenizer of a Hugging Face folder into `place` if it is one of ours; what became of it, in words."""
    place.mkdir(parents=True)
    try:
        described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))[_KEY]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{_NONE} (no tokenizer that this project wrote is in {folder.name})"
    (place / DESCRIPTION).write_text(folders.canonical(described), encoding="utf-8")
    if (folder / MODEL).is_file():
        shutil.copyfile(folder / MODEL, place / MODEL)
    return _told(Tokenizer.load(place))


def send(place: Path, folder: Path, *, context: int) -> str:
    """Write the tokenizer in `place`, one of ours, into a Hugging Face folder; what became of it, in words."""
    if not (place / DESCRIPTION).is_file():
        return _NONE
    tokenizer = Tokenizer.load(place)
    pieces = _learnt(place / MODEL) if (place / MODEL).is_file() else _bytes()
    (folder / "tokenizer.json").write_text(
        json.dumps(_described(pieces, tokenizer), ensure_ascii=False), encoding="utf-8"
    )
    begin, end = SPECIALS[:2]
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        _KEY: json.loads((place / DESCRIPTION).read_text(encoding="utf-8")),
    }
    (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if (place / MODEL).is_file():
        shutil.copyfile(place / MODEL, folder / MODEL)
    return _told(tokenizer)


def ids(place: Path) -> dict[str, int | None]:
    """What a config.json says of the tokenizer in `place`, whether there is one or not."""
    known = Tokenizer.load(place) if (place / DESCRIPTION).is_file() else None
    return {
        "bos_token_id": known.begin if known else None,
        "eos_token_id": known.end if known else None,
        "pad_token_id": None,
    }


def _told(tokenizer: Tokenizer) -> str:
    return f"{tokenizer.algorithm}, {tokenizer.vocab_size:,} tokens"


class _Pieces(NamedTuple):
    """A vocabulary in the order of its ids: names, what each is worth, and the id of what is not known."""

    names: list[str]
    scores: list[float]
    unknown: int | None


def _learnt(path: Path) -> _Pieces:
    """The vocabulary of a sentencepiece model."""
    import sentencepiece

    processor: Any = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    indices = range(processor.get_piece_size())
    names = [processor.id_to_piece(index) for index in indices]
    return _Pieces(names, [processor.get_score(index) for index in indices], processor.unk_id())


def _bytes() -> _Pieces:
    """The vocabulary of plain bytes."""
    names = [f"<0x{byte:02X}>" for byte in range(256)] + list(SPECIALS)
    return _Pieces(names, [0.0] * len(names), None)


def _described(pieces: _Pieces, tokenizer: Tokenizer) -> dict[str, Any]:
    """tokenizer.json: spaces written as sentencepiece writes them, pieces found in that, and both undone."""
    special = [{"id": pieces.names.index(name), "content": name, **_SPECIAL} for name in SPECIALS]
    begin, spaced = SPECIALS[0], tokenizer.algorithm != "byte"
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": _replaced(" ", SPACE) if spaced else None,
        "pre_tokenizer": _APART if tokenizer.algorithm == "unigram" else None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {begin: {"id": begin, "ids": [tokenizer.begin], "tokens": [begin]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                *([_replaced(SPACE, " ")] if spaced else []),
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": _unigram(pieces) if tokenizer.algorithm == "unigram" else _merged(pieces),
    }


def _replaced(this: str, that: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": this}, "content": that}


_APART = {
    "type": "Split",
    "pattern": {"Regex": "<(?=0x[0-9A-F]{2}>)"},
    "behavior": "Isolated",
    "invert": False,
}
"""Otherwise text that looks like the name of a byte would be read as that byte, by a unigram model."""

_SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def _unigram(pieces: _Pieces) -> dict[str, Any]:
    vocabulary = [list(pair) for pair in zip(pieces.names, pieces.scores, strict=True)]
    return {"type": "Unigram", "unk_id": pieces.unknown, "vocab": vocabulary, "byte_fallback": True}


def _merged(pieces: _Pieces) -> dict[str, Any]:
    """Byte pairs; letters and bytes are the same without a pair."""
    ids = {name: index for index, name in enumerate(pieces.names)}
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None if pieces.unknown is None else pieces.names[pieces.unknown],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": ids,
        "merges": _merges(pieces, ids),
    }


def _merges(pieces: _Pieces, ids: dict[str, int]) -> list[list[str]]:
    """Every pair of pieces that make a piece, in the order of what they make, best first."""
    made = [name for name in pieces.names if len(name) > 1 and not (name.startswith("<") and name.endswith(">"))]
    made.sort(key=lambda name: -pieces.scores[ids[name]])
    return [
        [name[:cut], name[cut:]]
        for name in made
        for cut in range(1, len(name))
        if name[:cut] in ids and name[cut:] in ids
    ]
