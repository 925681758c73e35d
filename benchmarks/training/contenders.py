"""Those who train: each a generator that makes one update for every turn it is given, and yields its loss in nats.

This project's own engine is driven through its training loop; the others as their documentation shows, each in its
`default` and in its fastest setting, torch.compile with `bfloat16` by autocast, or with `float32` where that is all
that a machine computes in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.training.shape import CLIP, LEARNING_RATE, WEIGHT_DECAY, Shape

Contender = Callable[[Shape, str], Iterator[float]]


def lmmodel(shape: Shape, setting: str) -> Iterator[float]:
    """This project: its own loop, checks, deterministic algorithms and all."""
    from benchmarks.training import ours

    with tempfile.TemporaryDirectory() as scratch:
        yield from ours.training(shape, Path(scratch), precision=setting)


def transformers(shape: Shape, setting: str) -> Iterator[float]:
    """Hugging Face's Llama (gated) or GPT-2 (plain), with fresh weights, in the loop of its documentation."""
    if shape.gated:
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            hidden_size=shape.width,
            intermediate_size=shape.hidden,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.heads,
            vocab_size=shape.vocab_size,
            max_position_embeddings=shape.context,
            use_cache=False,
        )
        model: Any = LlamaForCausalLM(config)
    else:
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(
            GPT2Config(
                n_embd=shape.width,
                n_inner=shape.hidden,
                n_layer=shape.depth,
                n_head=shape.heads,
                vocab_size=shape.vocab_size,
                n_positions=shape.context,
                use_cache=False,
            )
        )

    def loss(model: Any, tokens: torch.Tensor) -> torch.Tensor:
        return model(input_ids=tokens[:, :-1], labels=tokens[:, :-1], shift_labels=tokens[:, 1:].contiguous()).loss

    yield from _loop(shape, setting, model, loss)


def x_transformers(shape: Shape, setting: str) -> Iterator[float]:
    """Its decoder with rotary positions and flash attention, under its autoregressive wrapper."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    decoder = Decoder(
        dim=shape.width,
        depth=shape.depth,
        heads=shape.heads,
        attn_dim_head=shape.width // shape.heads,
        rotary_pos_emb=True,
        use_rmsnorm=True,
        attn_flash=True,
        ff_glu=shape.gated,
        ff_swish=shape.gated,
        ff_no_bias=True,
        ff_mult=shape.hidden / shape.width,
    )
    network = TransformerWrapper(
        num_tokens=shape.vocab_size, max_seq_len=shape.context, attn_layers=decoder, use_abs_pos_emb=False
    )
    yield from _loop(shape, setting, AutoregressiveWrapper(network), lambda model, tokens: model(tokens))


def litgpt(shape: Shape, setting: str) -> Iterator[float]:
    """Its GPT with its chunked loss, compiled in both settings, as its own pretraining does."""
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        block_size=shape.context,
        n_layer=shape.depth,
        n_embd=shape.width,
        n_head=shape.heads,
        padded_vocab_size=shape.vocab_size,
        intermediate_size=shape.hidden,
        mlp_class_name="LLaMAMLP" if shape.gated else "GptNeoxMLP",
        norm_class_name="RMSNorm",
        bias=False,
        rotary_percentage=1.0,
    )

    def loss(model: Any, tokens: torch.Tensor) -> torch.Tensor:
        return chunked_cross_entropy(model(tokens[:, :-1].contiguous()), tokens[:, 1:].contiguous())

    yield from _loop(shape, setting, GPT(config), loss, compiled=True)


def _loop(
    shape: Shape,
    setting: str,
    model: Any,
    loss: Callable[[Any, torch.Tensor], torch.Tensor],
    *,
    compiled: bool = False,
) -> Iterator[float]:
    """The loop that all documentations agree on: forward, backward, clip, step."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY, fused=True
    )
    called = torch.compile(loss) if setting != "default" or compiled else loss
    step = 0
    while True:
        parts = torch.from_numpy(shape.batch(step)).to(device).split(shape.micro_rows)
        nats = 0.0
        for part in parts:
            with torch.autocast(device, dtype=torch.bfloat16, enabled=setting == "bfloat16"):
                value = called(model, part) / len(parts)
            value.backward()
            nats += float(value.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        yield nats


def products(shape: Shape, setting: str) -> Iterator[float]:
    """Nothing but the matrix products of one update of this project's step: same shapes, same layouts."""
    from benchmarks.training import ours

    calls = ours.products(shape, precision=setting)
    while True:
        for _ in range(shape.parts):
            for call in calls:
                call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        yield float("nan")


CONTENDERS: dict[str, Contender] = {
    "lmmodel": lmmodel,
    "products": products,
    "transformers": transformers,
    "litgpt": litgpt,
    "x_transformers": x_transformers,
}
