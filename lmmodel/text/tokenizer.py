"""Text to numbers and back, without loss: what is encoded is decoded to the same text, letter by letter.

Either pieces that sentencepiece learnt, or plain bytes. Five tokens are no text: where a document or a dialogue begins,
where an answer ends, and who speaks. No text encodes to them, whatever it looks like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmmodel import folder as folders
from lmmodel.params.refusal import Refusal
from lmmodel.text import pieces
from lmmodel.text.specials import BYTES, SPECIALS, fits

MODEL, DESCRIPTION = "tokenizer.model", "tokenizer.json"

_STRETCH_LETTERS = 8192  # sentencepiece's byte pairs slow down threefold on a megabyte in one piece

Ids = NDArray[np.int32]


class _Codec(Protocol):
    """What a kind of vocabulary knows: its words in bytes (specials: none), and how to find them in texts."""

    words: list[bytes]
    specials: tuple[int, ...]

    def encode(self, texts: Sequence[str], workers: int) -> list[Ids]: ...


class Tokenizer:
    """A vocabulary; made by `train` or `Tokenizer.load`.

    `begin`, `end`, `user`, `assistant` and `system` are the ids of the tokens that are no text.
    """

    def __init__(self, codec: _Codec, algorithm: str) -> None:
        self._codec = codec
        self.algorithm = algorithm
        self.begin, self.end, self.user, self.assistant, self.system = codec.specials

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer in `folder`; a Refusal names the file that is missing or damaged."""
        path = Path(folder, DESCRIPTION)
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            algorithm, size = described["algorithm"], described["vocab_size"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{path}: is not a tokenizer's description ({error!r})") from None
        codec: _Codec = _Bytes() if algorithm == "byte" else _Pieces.read(Path(folder, MODEL))
        if len(codec.words) != size:
            raise Refusal(f"{Path(folder, MODEL)}: holds {len(codec.words):,} pieces; {DESCRIPTION} says {size:,}")
        return cls(codec, algorithm)

    def save(self, folder: Path) -> None:
        """Write what `load` reads, without an index: the folder may hold more."""
        if isinstance(self._codec, _Pieces):
            (folder / MODEL).write_bytes(self._codec.model)
        described = {"algorithm": self.algorithm, "vocab_size": self.vocab_size, "special": self.special}
        (folder / DESCRIPTION).write_text(folders.canonical(described), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """How many ids there are; each is below it."""
        return len(self._codec.words)

    @property
    def special(self) -> dict[str, int]:
        """The ids that are no text, by name."""
        names = ("begin", "end", "user", "assistant", "system")
        return {name: int(getattr(self, name)) for name in names}

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, no special ones among them."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str], *, workers: int = 1) -> list[Ids]:
        """The ids of each of `texts`; the same for every number of workers, which are threads outside of Python."""
        return self._codec.encode(texts, workers)

    def decode(self, ids: Iterable[int]) -> str:
        """The text that `ids` stand for. Bytes that are no text, as a model may write them, become U+FFFD."""
        words = self._codec.words
        return b"".join([words[index] for index in ids]).decode("utf-8", errors="replace")

    def byte_lengths(self) -> NDArray[np.int64]:
        """How many bytes of text each id stands for, [V]; 0 for what is no text."""
        return np.array([len(word) for word in self._codec.words], dtype=np.int64)


def train(sentences: Iterable[str], *, algorithm: str, vocab_size: int) -> Tokenizer:
    """A tokenizer of exactly `vocab_size` ids; a Refusal names the size that the text supports.

    `sentences` are stretches of text as `pieces.sentences` cuts and draws them.
    """
    if algorithm != "byte":
        model = pieces.learn(sentences, algorithm=algorithm, vocab_size=vocab_size, specials=SPECIALS)
        return Tokenizer(_Pieces(model), algorithm)
    try:
        fits(algorithm, vocab_size)
    except ValueError as error:
        raise Refusal(f"tokenizer.vocab_size: {error}") from None
    return Tokenizer(_Bytes(), algorithm)


class _Bytes:
    """An id is a byte; behind them the special tokens."""

    def __init__(self) -> None:
        self.words = [bytes([value]) for value in range(BYTES)] + [b""] * len(SPECIALS)
        self.specials = tuple(range(BYTES, BYTES + len(SPECIALS)))

    def encode(self, texts: Sequence[str], workers: int) -> list[Ids]:
        return [np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32) for text in texts]


class _Pieces:
    """The pieces of a sentencepiece model."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = model
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.words = [self._word(index) for index in range(self._processor.get_piece_size())]
        self.specials = tuple(self._processor.piece_to_id(name) for name in SPECIALS)
        self._space = np.array([self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in pieces.SPACE.encode()])

    @classmethod
    def read(cls, path: Path) -> _Pieces:
        try:
            return cls(path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise Refusal(f"{path}: is not a sentencepiece model ({' '.join(str(error).split())[:100]})") from None

    def encode(self, texts: Sequence[str], workers: int) -> list[Ids]:
        stretches: list[str] = []
        counts = []
        for text in texts:
            before = len(stretches)
            stretches.extend(_stretches(text))
            counts.append(len(stretches) - before)
        found = iter(self._encode(stretches, workers))
        return [_joined([next(found) for _ in range(count)]) for count in counts]

    def _encode(self, stretches: list[str], workers: int) -> list[Ids]:
        """sentencepiece would read the letter that it writes spaces with as a space: spelt in its bytes instead."""
        ids: list[Ids] = self._processor.encode(
            ["" if part == pieces.SPACE else part for part in stretches], return_type="numpy", num_threads=workers
        )
        return [self._space if part == pieces.SPACE else found for part, found in zip(stretches, ids, strict=True)]

    def _word(self, index: int) -> bytes:
        processor = self._processor
        if processor.is_control(index) or processor.is_unknown(index):
            return b""
        piece: str = processor.id_to_piece(index)
        if processor.is_byte(index):
            return bytes([int(piece[1:-1], 16)])
        return piece.replace(pieces.SPACE, " ").encode()


def _joined(parts: list[Ids]) -> Ids:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype=np.int32), *parts]).astype(np.int32)


_CUT = re.compile(r"(?<=[^ ])(?= )")


def _stretches(text: str) -> list[str]:
    """`text` in stretches that sentencepiece encodes apart as it would together.

    It is cut between a letter and a space: since a piece holds spaces at its beginning alone, none reaches across. And
    around each letter that sentencepiece takes for a space.
    """
    if len(text) <= _STRETCH_LETTERS and pieces.SPACE not in text:
        return [text]
    result = []
    for part in re.split(f"({pieces.SPACE})", text):
        start = 0
        while len(part) - start > _STRETCH_LETTERS and (cut := _CUT.search(part, start + _STRETCH_LETTERS)):
            result.append(part[start : cut.start()])
            start = cut.start()
        result.append(part[start:])
    return [part for part in result if part]
