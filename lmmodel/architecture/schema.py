"""The JSON schema of the section `model`, by which editors complete a design."""

from __future__ import annotations

from typing import Any

from lmmodel.architecture.families import PARTS
from lmmodel.architecture.resolve import MODEL_SECTIONS, designs
from lmmodel.params.kinds import OWN_FOLDER, describe


def model_schema() -> dict[str, Any]:
    """What may stand under `model`."""
    whole = {"type": "integer", "minimum": 1}
    sizes = dict.fromkeys(("width", "depth", "heads", "head_width", "context"), whole)
    accept = {"type": "array", "items": {"type": "string"}}
    return _mapping({**sizes, "design": _design(), "accept": accept})


def _design() -> dict[str, Any]:
    """A name, a file, parts, or changes to a design."""
    name = {"anyOf": [{"enum": list(designs())}, {"type": "string", "pattern": rf"^{OWN_FOLDER}/.+\.yaml$"}]}
    parts = {key: _part(key) for key in PARTS}
    sections = {key: settings.model_json_schema() for key, settings in MODEL_SECTIONS.items()}
    layers = {"type": "object", "additionalProperties": _mapping(parts)}
    whole = _mapping({"like": name, **parts, **sections, "layers": layers, "pattern": _pattern()})
    return {"anyOf": [*name["anyOf"], whole]}


def _part(key: str) -> dict[str, Any]:
    """A kind with its options, or, where no kind is named, options that change the one that is there."""
    schema = describe(PARTS[key])
    return {"anyOf": [*schema["anyOf"], {"type": "object", "not": {"required": ["kind"]}}]}


def _pattern() -> dict[str, Any]:
    entry = {
        "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}]
    }
    entries = {"type": "array", "items": entry}
    return {"anyOf": [entries, _mapping({"first": entries, "repeat": entries, "last": entries})]}


def _mapping(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}
