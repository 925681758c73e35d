"""A config.json, read so that nothing in it is passed over: each setting is used, or has no effect, or is refused.

A setting that was ignored could make another model of the same weights, without a word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmmodel.params.refusal import Refusal

CONFIG = "config.json"

FREE = frozenset(
    {"architectures", "model_type", "transformers_version", "dtype", "torch_dtype", "_name_or_path", "tokenizer_class"}
    | {"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "is_decoder"}
    | {"use_cache", "return_dict", "output_attentions", "output_hidden_states", "output_router_logits", "torchscript"}
    | {
        "id2label",
        "label2id",
        "problem_type",
        "finetuning_task",
        "task_specific_params",
        "_attn_implementation_autoset",
    }
    | {"attention_dropout", "hidden_dropout", "pretraining_tp", "use_bfloat16", "gradient_checkpointing"}
)
"""Settings without effect on logits, whatever they say: about training, generating, labels, how products are cut up."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (False,),
    "chunk_size_feed_forward": (0,),
    "pruned_heads": ({},),
    "prefix": (None, ""),
}
"""Settings that go with every architecture here as long as they say this."""

_MISSING: Any = object()


class Config:
    """The settings of one folder. `name` is what refusals call the file; `defaults` stand for what it leaves out."""

    def __init__(self, data: Mapping[str, Any], *, name: str, defaults: Mapping[str, Any], within: str = "") -> None:
        self.data, self.name, self.defaults, self.within = dict(data), name, dict(defaults), within
        self._used: set[str] = set()

    def rename(self, aliases: Mapping[str, str]) -> None:
        """Read what stands under another name of a setting, as transformers does, under its own."""
        for alias, key in aliases.items():
            if alias in self.data and key not in self.data:
                self.data[key] = self.data.pop(alias)

    def take(self, key: str) -> Any:
        """The setting `key`, whatever it is; a Refusal where it is missing and has no default."""
        self._used.add(key)
        value = self.data.get(key, self.defaults.get(key, _MISSING))
        if value is _MISSING:
            raise Refusal(f"{self.name}: {self.within}{key} is missing")
        return value

    def told(self, key: str) -> bool:
        """Whether the file itself says something under `key`."""
        return self.data.get(key) is not None

    def count(self, key: str) -> int:
        """A whole number from 1 on."""
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.refuse(key, "should be a whole number from 1 on")
        return value

    def natural(self, key: str) -> int:
        """A whole number from 0 on."""
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.refuse(key, "should be a whole number from 0 on")
        return value

    def naturals(self, key: str) -> list[int]:
        """A list of whole numbers, empty for null."""
        value = [] if self.take(key) is None else self.take(key)
        if not isinstance(value, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in value):
            raise self.refuse(key, "should be a list of whole numbers")
        return value

    def positive(self, key: str) -> float:
        """A finite number above 0."""
        value = self.number(key)
        if value <= 0:
            raise self.refuse(key, "should be a number above 0")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(key, "should be a finite number")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise self.refuse(key, "should be true or false")
        return value

    def count_or(self, key: str, otherwise: int) -> int:
        """A whole number from 1 on; `otherwise` for null."""
        return otherwise if self.take(key) is None else self.count(key)

    def number_or_none(self, key: str) -> float | None:
        """A finite number, or null."""
        return None if self.take(key) is None else self.number(key)

    def word(self, key: str, meanings: Mapping[str, str]) -> str:
        """What a word means; a Refusal lists those that mean something here."""
        value = self.take(key)
        if not isinstance(value, str) or value not in meanings:
            raise self.refuse(key, f"has no counterpart here; there are {', '.join(meanings)}")
        return meanings[value]

    def only(self, key: str, *values: Any) -> None:
        """Refuse `key`, where it is there or has a default, unless it says one of `values`."""
        self._used.add(key)
        value = self.data.get(key, self.defaults.get(key, values[0]))
        if not any(value == fit and isinstance(value, bool) == isinstance(fit, bool) for fit in values):
            raise self.refuse(
                key, f"cannot be expressed by a declaration; what can is {' or '.join(map(spelt, values))}"
            )

    def free(self, *keys: str) -> None:
        """Declare `keys` to be without effect here."""
        self._used.update(keys)

    def below(self, key: str) -> Config:
        """The settings inside `key`, null or absent as none."""
        self._used.add(key)
        value = self.data.get(key) or {}
        if not isinstance(value, dict):
            raise self.refuse(key, "should hold keys and values")
        return Config(value, name=self.name, defaults={}, within=f"{self.within}{key}.")

    def refuse(self, key: str, text: str) -> Refusal:
        """A Refusal about the value of `key`."""
        return Refusal(f"{self.name}: {self.within}{key} {spelt(self.data.get(key, self.defaults.get(key)))} {text}")

    def finish(self) -> None:
        """Refuse the first setting that nothing here has used and that may have an effect."""
        for key in self.data.keys() - self._used - (FREE if not self.within else frozenset()):
            if key in NEUTRAL and not self.within:
                self.only(key, *NEUTRAL[key])
            else:
                raise self.refuse(key, "is not a setting that is understood here, and none is passed over")


def spelt(value: Any) -> str:
    """`value` as JSON spells it, cut short where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(value: dict[str, Any]) -> Any:
    """transformers' spelling of what JSON has no number for."""
    return float(value["__float__"]) if value.keys() == {"__float__"} else value


def read(folder: Path) -> dict[str, Any]:
    """The config.json of `folder`; a Refusal where there is none, or none of this kind."""
    path = folder / CONFIG
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_hook=_plain)
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror}): a Hugging Face folder has one") from None
    except ValueError as error:
        raise Refusal(f"{path}: is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise Refusal(f"{path}: should hold keys and values")
    return data
