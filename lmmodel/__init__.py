"""Design a decoder-only language model as data, prove the design, train it, and compare it honestly.

The rooms, from the ground up; each imports only what lies below it:

    params        what a person writes: YAML with line numbers, strict options, kinds found by their file's name
    text          documents -> tokens -> batches
    architecture  a declaration -> a model
    learning      a model and batches -> a checkpoint
    inference     a checkpoint -> text and scores

`pipelines`, beside this package, strings them together as stages.

Shapes live in names, and every letter means the same everywhere:

    B batch, T tokens of this pass, S tokens visible so far, D width, H heads, G key-value heads, K head width,
    F hidden width of a feed-forward, E experts, V vocabulary

    import lmmodel
    declaration = lmmodel.load_declaration("params.yaml")   # validated, complete, frozen
    model = lmmodel.build(declaration)                      # torch.nn.Module; model(tokens_BT) -> logits_BTV
    model, tokenizer = lmmodel.load("models/pretrain")
    model = lmmodel.load_model("imported")                  # alone: it may have come without a tokenizer
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmmodel.architecture.declaration import Declaration
    from lmmodel.architecture.model import build
    from lmmodel.architecture.resolve import load_declaration
    from lmmodel.learning.checkpoint import load, load_model
    from lmmodel.params.refusal import Refusal

__all__ = ["Declaration", "Refusal", "build", "load", "load_declaration", "load_model"]

_HOMES = {
    "Declaration": "lmmodel.architecture.declaration",
    "Refusal": "lmmodel.params.refusal",
    "build": "lmmodel.architecture.model",
    "load": "lmmodel.learning.checkpoint",
    "load_declaration": "lmmodel.architecture.resolve",
    "load_model": "lmmodel.learning.checkpoint",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for, so that `import lmmodel` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmodel' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
