"""Models small enough to compute by hand, with weights so large that whatever leaks is seen."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from lmmodel.architecture.model import Model, build
from lmmodel.architecture.resolve import resolve
from lmmodel.params.document import parse
from lmmodel.text.tokenizer import Tokenizer, train

CONTEXT = 16
VOCABULARY = 40
POSITIONS = ("rotary", "learned")


@lru_cache(maxsize=8)
def model(position: str = "rotary", vocabulary: int = VOCABULARY, context: int = CONTEXT, seed: int = 1) -> Model:
    """Two layers in float64, every weight drawn wide."""
    text = f"""
model:
  width: 16
  depth: 2
  heads: 2
  context: {context}
  design: {{position: {position}, attention: {{kind: multi_head, kv_heads: 1}}}}
"""
    built = build(resolve(parse(text, name="small"), vocab_size=vocabulary), seed=0, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.4, generator=generator)
    return built


@torch.no_grad()
def next_log_probabilities(of: Model, ids: list[int]) -> Tensor:
    """log p(next token | ids), by the whole model on one row: nothing shared with what is tested."""
    return torch.log_softmax(of(torch.tensor([ids]))[0, -1], dim=-1)


@lru_cache(maxsize=2)
def tokenizer(algorithm: str) -> Tokenizer:
    """Bytes, or byte pairs of which many reach across words' ends."""
    if algorithm == "byte":
        return train([], algorithm="byte", vocab_size=261)
    words = ["football", "footstep", "ballgame", "stepball", "game step", "a foot in the game", "step by step"]
    return train([" ".join(words[i % 7 :] + words[: i % 7]) for i in range(50)], algorithm="bpe", vocab_size=320)
