"""Models of others to stand beside: any causal Hugging Face model, a folder or a name, through lm-eval's HFLM.

transformers is imported on this way and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmmodel.inference.settings import REFERENCES_EXTRA, is_folder
from lmmodel.params.refusal import Refusal

if TYPE_CHECKING:
    from lm_eval.api.model import LM

_BATCH = 16


def load(name: str, *, device: str) -> LM:
    """The reference called `name`; a Refusal where transformers is missing, or the model is not within reach."""
    try:
        from lmmodel.inference.hflm import Reference
    except ImportError as error:
        raise Refusal(
            f"evaluate.references: '{name}' needs the Python package '{error.name}': "
            f"pip install -c constraints.txt -e '.[{REFERENCES_EXTRA}]'"
        ) from None
    place = str(Path(name).expanduser()) if is_folder(name) else name
    try:
        return Reference(pretrained=place, device=device, batch_size=_BATCH, dtype="float32")
    except (OSError, ValueError) as error:
        raise Refusal(f"evaluate.references: '{name}' cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def label(name: str) -> str:
    """What a reference is called in outputs: never an absolute path."""
    return Path(name).name if Path(name).is_absolute() or name.startswith("~") else name
