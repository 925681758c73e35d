"""Learning a vocabulary with sentencepiece (Kudo and Richardson 2018): byte pairs, a unigram model, or letters.

Nothing of a text is lost: no normalisation, no spaces folded, bytes for letters that the vocabulary lacks. The result
depends on the texts alone: a constant number of threads (sentencepiece writes it into its model), and where there is
more text than is needed, a part chosen by hash.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from lmmodel.params.refusal import Refusal

UNKNOWN = "<|unknown|>"
"""sentencepiece wants a piece for what it does not know; with a piece for every byte it never comes up."""
SPACE = "▁"
"""How sentencepiece writes a space. The letter itself is spelt in bytes."""

_THREADS = 2
_SENTENCE_LETTERS = 4000
_SENTENCE_BYTES = 1 << 16


def learn(texts: Iterable[str], *, algorithm: str, vocab_size: int, specials: tuple[str, ...]) -> bytes:
    """A sentencepiece model of exactly `vocab_size` pieces, bytes and `specials` among them; or a Refusal.

    `texts` are what `sentences` yields.
    """
    import sentencepiece

    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=out,
            model_type=algorithm,
            vocab_size=vocab_size,
            num_threads=_THREADS,
            minloglevel=2,
            **_NOTHING_LOST,
            **_pieces(specials),
        )
    except (RuntimeError, OSError, ValueError) as error:
        raise _refusal(str(error), algorithm, vocab_size) from None
    size = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue()).get_piece_size()
    if size != vocab_size:
        raise _too_large(algorithm, vocab_size, supported=size)
    return out.getvalue()


def sentences(texts: Iterable[str], *, total_bytes: int, limit_bytes: int) -> Iterator[str]:
    """`texts`, which hold `total_bytes`, in stretches to learn from; beyond `limit_bytes` a part, drawn by hash."""
    share = min(1.0, limit_bytes / max(1, total_bytes))
    left = limit_bytes
    for stretch in _stretches(texts):
        data = stretch.encode()
        place = int.from_bytes(blake2b(data, digest_size=8, person=b"vocabulary").digest(), "big")
        if place < share * 2**64:
            left -= len(data)
            if left < 0:
                return
            yield stretch


_NOTHING_LOST: dict[str, Any] = {
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "add_dummy_prefix": False,
    "byte_fallback": True,
    "allow_whitespace_only_pieces": True,  # indentation is a piece or two, not a dozen
    "split_digits": True,
    "max_sentence_length": _SENTENCE_BYTES,
}


def _pieces(specials: tuple[str, ...]) -> dict[str, Any]:
    begin, end, *others = specials
    return {
        "unk_id": 0, "unk_piece": UNKNOWN, "unk_surface": "",
        "bos_id": 1, "bos_piece": begin,
        "eos_id": 2, "eos_piece": end,
        "pad_id": -1,
        "control_symbols": others,  # control pieces are never read out of a text that looks like them
    }  # fmt: skip


def _stretches(texts: Iterable[str]) -> Iterator[str]:
    """Texts in pieces that sentencepiece takes: a longer line than it allows would be skipped in silence.

    Cut before the end of a line, since it drops one at the end of a sentence.
    """
    for text in texts:
        text = re.sub(f"[{SPACE}\0]", "", text)
        while text:
            cut = len(text) if len(text) <= _SENTENCE_LETTERS else text.rfind("\n", 1, _SENTENCE_LETTERS)
            cut = cut if cut > 0 else _SENTENCE_LETTERS
            yield text[:cut]
            text = text[cut:]


def _refusal(text: str, algorithm: str, vocab_size: int) -> Refusal:
    if largest := re.search(r"value <= (\d+)", text):
        return _too_large(algorithm, vocab_size, supported=int(largest[1]))
    if smallest := re.search(r"required_chars\. \d+ vs (\d+)", text):
        return Refusal(
            f"tokenizer.vocab_size: {vocab_size:,} is too small: with a token for every byte and every frequent "
            f"letter, this text needs {int(smallest[1]):,} at least"
        )
    return Refusal(f"tokenizer: sentencepiece cannot learn {vocab_size:,} pieces: {' '.join(text.split())[:200]}")


def _too_large(algorithm: str, vocab_size: int, *, supported: int) -> Refusal:
    return Refusal(
        f"tokenizer.vocab_size: {vocab_size:,} is more than this text supports: "
        f"{algorithm} finds {supported:,} pieces in it; give it at most {supported:,}, or more text"
    )
