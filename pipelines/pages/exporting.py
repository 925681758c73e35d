"""A checkpoint made into a Hugging Face folder that transformers reads: config.json, model.safetensors, the tokenizer.

The architecture follows from the design. A design that no transformers architecture expresses is refused, with the part
that does not fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lmmodel.learning import checkpoint


def arguments(parser: argparse.ArgumentParser) -> None:
    """From where, to where."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a folder, such as models/pretrain")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the Hugging Face folder to be made; must not exist"
    )


def show(told: argparse.Namespace) -> None:
    """Make the folder and say what it is."""
    from lmmodel.inference.huggingface import writer

    checkpoint.expect(told.checkpoint)
    sent = writer.send(told.checkpoint, told.folder)
    print(f"{told.folder}: a {sent.model_type}, which transformers reads as {sent.architecture}")
    print(f"  tokenizer: {sent.tokenizer}")
