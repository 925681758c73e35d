"""A Hugging Face folder made into a checkpoint that `lmmodel.load_model` reads.

With a tokenizer that this project wrote beside it, `lmmodel.load` and `lmmodel generate` read it too. The folder is
local: config.json and *.safetensors, one file or several with their index. Nothing is downloaded, no code is run,
nothing pickled is opened. An architecture that is not known, and a setting that no declaration expresses, are refused
by name: what comes out computes what transformers would.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmodel.params.refusal import Refusal


def arguments(parser: argparse.ArgumentParser) -> None:
    """From where, to where."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a Hugging Face folder: config.json, *.safetensors")
    parser.add_argument("target", type=Path, metavar="TARGET", help="the checkpoint to be made; must not exist yet")


def show(told: argparse.Namespace) -> None:
    """Make the checkpoint and say what it holds."""
    from lmmodel.inference.huggingface import reader

    if not told.folder.is_dir():
        raise Refusal(f"lmmodel import: {told.folder} is not a folder here; names on the hub are not looked up")
    brought = reader.bring(told.folder, told.target)
    declaration = brought.model.declaration
    count = sum(parameter.numel() for parameter in brought.model.parameters())
    print(f"{told.target}: a {brought.facts[reader.SOURCE]['model_type']} of {count:,} parameters, ", end="")
    print(f"{declaration.depth} layers of width {declaration.width}, context {declaration.context:,}")
    print(f"  tokenizer: {brought.tokenizer}")
    loader = "load" if (told.target / "tokenizer" / "tokenizer.json").is_file() else "load_model"
    print(f"  in Python: lmmodel.{loader}('{told.target}')")
    if brought.left_out:
        more = f" and {len(brought.left_out) - 1} more" if len(brought.left_out) > 1 else ""
        print(f"  left out, as transformers leaves them out: {brought.left_out[0]}{more}")
