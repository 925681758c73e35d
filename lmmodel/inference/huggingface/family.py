"""The published architectures that are known, found by their files: `families/<model_type>.py`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lmmodel.architecture.declaration import Declaration
from lmmodel.inference.huggingface.assembly import Seen
from lmmodel.inference.huggingface.config import FREE, NEUTRAL, Config
from lmmodel.inference.huggingface.rules import Rule, present
from lmmodel.params.refusal import Refusal, suggestion

FAMILIES = Path(__file__).parent / "families"
_OLD_BUFFERS = (r"\.rotary_emb\.inv_freq$",)
"""What files written by older transformers hold beside parameters, whatever the architecture."""


class Family:
    """One published architecture: how its config.json and tensors correspond to a declaration and ours."""

    def __init__(self, model_type: str) -> None:
        self.model_type = model_type
        self._module: Any = importlib.import_module(f"lmmodel.inference.huggingface.families.{model_type}")
        self.architecture: str = self._module.ARCHITECTURE
        self.base: str = self._module.BASE
        self.defaults: dict[str, Any] = self._module.DEFAULTS
        self.left_out: tuple[str, ...] = (*_OLD_BUFFERS, *getattr(self._module, "LEFT_OUT", ()))

    def declare(self, data: Mapping[str, Any], *, name: str) -> Declaration:
        """The declaration that a config.json tells; a Refusal names the setting that it cannot express."""
        config = Config(data, name=name, defaults=self.defaults)
        config.rename(getattr(self._module, "ALIASES", {}))
        declared: Declaration = self._module.declare(config)
        return declared

    def describe(self, declaration: Declaration) -> dict[str, Any]:
        """The config.json that comes nearest to `declaration`: declared again, it shows what it cannot say."""
        told: dict[str, Any] = self._module.describe(Seen(declaration))
        return {"model_type": self.model_type, "architectures": [self.architecture], **told}

    def rules(self, declaration: Declaration, names: Mapping[str, Any]) -> list[Rule]:
        """Which tensors are which of ours, for a model whose parameters are called `names`."""
        rules: Iterator[Rule] = self._module.rules(declaration)
        return present(rules, names)


def known() -> tuple[str, ...]:
    """The model types, in alphabetical order."""
    return tuple(sorted(path.stem for path in FAMILIES.glob("*.py") if not path.stem.startswith("_")))


def of(data: Mapping[str, Any], *, name: str) -> Family:
    """The family of a config.json; a Refusal where its architecture is not known, or its code is elsewhere."""
    if "auto_map" in data:
        raise Refusal(f"{name}: auto_map names code of its own, and no remote code is run")
    if data.get("quantization_config") is not None:
        raise Refusal(
            f"{name}: quantization_config: its weights are quantized; what can be read is float32 to bfloat16"
        )
    model_type = data.get("model_type")
    if not isinstance(model_type, str) or model_type not in known():
        hint = suggestion(str(model_type), known())
        raise Refusal(f"{name}: model_type {model_type!r} is not one of {', '.join(known())}{hint}")
    family = Family(model_type)
    architectures = data.get("architectures") or [family.architecture]
    if architectures != [family.architecture]:
        raise Refusal(f"{name}: architectures {architectures} is not [{family.architecture!r}], which makes language")
    return family


def passed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a config.json that have no effect on logits: kept, so that an export can give them back."""
    return {key: data[key] for key in sorted(data.keys() & (FREE | NEUTRAL.keys()) - _OWN)}


_OWN = {"architectures", "model_type", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}
"""What an export says for itself."""
