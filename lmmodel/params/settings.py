"""Strict, frozen settings, and what is said to a person whose value does not fit.

Types are strict: an integral float is an integer, `"4"` is not a number, `yes` is a word. Every option has a default,
so that what is left out is never an error.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lmmodel.params.document import Document, Keys
from lmmodel.params.refusal import Refusal, suggestion


class Settings(BaseModel):
    """What one section or one kind can be told. Frozen, complete, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Options that say one thing in different ways, such as a number and a ratio: changing to one leaves the others."""

    @model_validator(mode="after")
    def _told_in_one_way(self) -> Self:
        for group in self.alternatives:
            given = [name for name in group if getattr(self, name) is not None]
            if len(given) > 1:
                values = " and ".join(f"{getattr(self, name):g}" for name in given)
                raise ValueError(f"takes {' or '.join(group)}, not both; {values} are given")
        return self

    def complete(self, sizes: Any) -> Self:
        """These options with what depends on `sizes` filled in; ValueError where they do not fit together."""
        return self

    def dump(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return self.model_dump(mode="json")


def _integral(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _sequence(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Listed = BeforeValidator(_sequence)
"""For a field that holds a tuple and is written as a list: `Annotated[tuple[Count, ...], Listed]`."""

Count = Annotated[int, Field(ge=1), BeforeValidator(_integral)]
"""A whole number from 1 on; 8.0 and 1e6 are whole."""
Natural = Annotated[int, Field(ge=0), BeforeValidator(_integral)]
"""A whole number from 0 on."""
SEEDS = range(2**64)
"""What torch's generators take: 64 bits."""
Seed = Annotated[int, Field(ge=SEEDS[0], le=SEEDS[-1]), BeforeValidator(_integral)]
"""One of them."""
Real = Annotated[float, BeforeValidator(_real)]
"""A finite number."""
Positive = Annotated[float, Field(gt=0), BeforeValidator(_real)]
"""A finite number above 0."""
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_real)]
"""A number from 0 to 1."""
Words = Annotated[tuple[str, ...], Listed]
"""A list of words."""


def exactly_one(settings: BaseModel, *names: str) -> str:
    """The one of `names` that was given; ValueError when it is none or several. None counts as not given."""
    given = [name for name in names if getattr(settings, name) is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} are given" if given else "none is given"
        raise ValueError(f"takes exactly one of {', '.join(names)}; {found}")
    return given[0]


Section = TypeVar("Section", bound=Settings)


def settle(settings: type[Section], document: Document, keys: Keys, *, context: Any = None) -> Section:
    """The section of `document` at `keys` as `settings`; a Refusal says what does not fit, where, and what would."""
    data: Any = document.data
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            raise document.refuse(keys, "is missing")
        data = data[key]
    if not isinstance(data, dict):
        raise document.refuse(keys, f"should hold keys and values, not {_quoted(data)}")
    try:
        return settings.model_validate(data, context=context)
    except ValidationError as error:
        raise refusal(error, document, keys, settings, data) from None


def refusal(error: ValidationError, document: Document, keys: Keys, settings: type[BaseModel], data: Any) -> Refusal:
    """The first of pydantic's `error`s in a person's words, with its line."""
    problems: dict[Keys, list[ErrorDetails]] = {}
    for problem in error.errors(include_url=False):
        problems.setdefault(_written(problem, data), []).append(problem)
    place, same = next(iter(problems.items()))
    same.sort(key=lambda problem: problem["type"] == "literal_error")
    text = _text(same[0], settings)
    if len(same) > 1 and same[-1]["type"] == "literal_error":
        text += f", or {', '.join(_expected(same[-1]))}"
    return document.refuse(keys + place, text)


def _written(problem: ErrorDetails, data: Any) -> Keys:
    """The keys of a problem as they stand in the file: without the names that pydantic gives to a union's members."""
    keys: list[str | int] = []
    for part in problem["loc"]:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if inside:
            data = data[part]
        elif problem["type"] != "missing":
            continue
        keys.append(part)
    return tuple(keys)


def _text(problem: ErrorDetails, settings: type[BaseModel]) -> str:
    """What is wrong with one value, in words that also say what would be right."""
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        choices = _siblings(settings, problem["loc"][:-1])
        word = str(problem["loc"][-1])
        return f"is not a key here; there are {', '.join(choices)}{suggestion(word, choices)}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        choices = _expected(problem)
        return f"{_quoted(value)} is not one of {', '.join(choices)}{suggestion(str(value), choices)}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _NEEDS:
        return _mismatch(value, _NEEDS[kind])
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        bound = context[name]
        return f"{_quoted(value)} should be {words} {bound:{',' if isinstance(bound, int) else ',g'}}"
    if kind == "finite_number":
        return f"{_quoted(value)} is not a finite number"
    return problem["msg"] if kind == "refused" else f"{_quoted(value)}: {problem['msg']}"


def _expected(problem: ErrorDetails) -> list[str]:
    """The choices of a literal, as pydantic lists them: 'a', 'b' or 'c'."""
    return [word.strip("'") for word in str(problem["ctx"]["expected"]).replace(" or ", ", ").split(", ")]


_NEEDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "none_required": "left out",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _mismatch(value: Any, needed: str) -> str:
    if needed == "true or false" and str(value).lower() in ("yes", "no", "on", "off"):
        truth = "true" if str(value).lower() in ("yes", "on") else "false"
        return f"{_quoted(value)} is a word in YAML 1.2, not a truth value: write {truth}"
    if isinstance(value, str) and "number" in needed:
        bare = f": write {value} unquoted" if _is_number(value) else ""
        return f"{_quoted(value)} is text, and {needed} is needed{bare}"
    return f"{_quoted(value)} should be {needed}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _siblings(settings: type[BaseModel], path: Keys) -> list[str]:
    """The keys that the section at `path` below `settings` knows."""
    for part in path:
        field = _by_key(settings).get(str(part))
        inner = [a for a in _members(field.annotation) if _is_settings(a)] if field else []
        if inner:
            settings = inner[0]
    return list(_by_key(settings))


def _by_key(settings: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of `settings` by what a person writes for them: an alias where there is one."""
    return {field.alias or name: field for name, field in settings.model_fields.items()}


def _members(annotation: Any) -> list[Any]:
    return [annotation, *getattr(annotation, "__args__", ())]


def _is_settings(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _quoted(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else f"'{value}'" if isinstance(value, str) else f"{value}"
