"""transformers' own models, small, with random weights, in folders that transformers wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.resolve import resolve
from lmmodel.inference.huggingface import writer
from lmmodel.params.document import parse

VOCABULARY = 97
SMALL = {
    "bloom": "",
    "deepseek_v3": "feed_forward: {experts: 16, active: 3, groups: 4, active_groups: 2}",
    "gemma2": "",
    "gemma3": "",
    "gpt2": "",
    "gpt_neox": "",
    "llama3": "",
    "mamba2": "attention: {state_width: 16}",
    "mistral": "",
    "mixtral": "feed_forward: {experts: 4}",
    "nanochat": "",
    "olmo2": "",
    "olmoe": "feed_forward: {experts: 8, active: 3}",
    "qwen3": "",
    "qwen3_moe": "attention: {kv_heads: 2}, feed_forward: {experts: 8, active: 3}",
    "qwen3_next": "feed_forward: {experts: 8, active: 3}",
}
"""The designs that transformers implements, and what is changed in them to make them small: how many, never what."""

_DEPTHS = {"deepseek_v3": 4, "gemma3": 7, "qwen3_next": 4}
"""To the first layer of each kind; two otherwise."""
_CONTEXTS = {"gemma3": 640}
"""Where a window of a small share of 64 would see nothing."""

_TABLES = ("embed", "wte", "wpe")


def declared(design: str, change: str = "") -> Declaration:
    """A shipped design, small; `change`: to its parts."""
    changes = ", ".join(part for part in (f"like: {design}", SMALL[design], change) if part)
    size = f"width: 64, depth: {_DEPTHS.get(design, 2)}, heads: 4, context: {_CONTEXTS.get(design, 64)}"
    return resolve(parse(f"model: {{{size}, design: {{{changes}}}}}", name="p"), vocab_size=VOCABULARY)


def made(folder: Path, told: dict[str, Any], *, dtype: torch.dtype = torch.float32) -> Any:
    """The model that transformers makes of the settings `told`, with drawn weights, and saved in `folder`.

    The last norm's weights are around 0, and tables are large: otherwise a token would follow itself for ever.
    """
    config = transformers.CONFIG_MAPPING[told["model_type"]](**{key: told[key] for key in told if key != "model_type"})
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            drawn = torch.empty(value.shape).normal_(generator=generator)
            if value.dim() > 1 or "correction" in name:
                width = 1 if any(word in name for word in _TABLES) else value.size(-1)
                value.copy_(drawn * 0.3 * width**-0.5)
            elif isinstance(value, torch.nn.Parameter):
                in_layer = any(letter.isdigit() for letter in name)
                value.copy_(drawn * 0.03 if "bias" in name else value + drawn * 0.3 if in_layer else drawn)
    model = model.to(dtype)
    model.save_pretrained(folder)
    return model


def of_design(folder: Path, design: str, change: str = "") -> Any:
    """transformers' model of a shipped design."""
    return made(folder, writer.fitting(declared(design, change)).config)
