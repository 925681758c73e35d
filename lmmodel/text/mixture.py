"""Several sources of documents at once, each with its weight: the share of what is learnt from that comes from it.

Documents are cleaned, freed of duplicates and split as those of one source are, over all of them together. Weights
count when batches are made: a source that is drawn from more often than it has text is gone through more than once.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from lmmodel.params.kinds import Chosen, Family, choose, describe
from lmmodel.params.settings import Positive, Settings


class _Weight(Settings):
    weight: Positive = 1.0


class Part(NamedTuple):
    """One source of a mixture."""

    chosen: Chosen
    weight: float

    def dump(self) -> dict[str, Any]:
        """Plain data: the kind, its options, the weight."""
        return {**self.chosen.dump(), "weight": self.weight}


Source = Chosen | tuple[Part, ...]


def sources(family: Family) -> Any:
    """The type of a field that holds one of `family`, or a list of them in which each may have a `weight`."""
    return Annotated[Source, _Sources(family)]


def parts(source: Source) -> tuple[Part, ...]:
    """The sources, each once; one alone has all the weight."""
    return (Part(source, 1.0),) if isinstance(source, Chosen) else source


class _Sources:
    """How pydantic reads, writes and describes one source or several."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any) -> Source:
            if not isinstance(value, list | tuple):
                return choose(self.family, value)
            return tuple(_part(self.family, number, one) for number, one in enumerate(_several(value)))

        def write(value: Source) -> Any:
            return value.dump() if isinstance(value, Chosen) else [part.dump() for part in value]

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(write)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        one = describe(self.family)
        weight = {"weight": {"type": "number", "exclusiveMinimum": 0}}
        many = [
            {**kind, "properties": {**kind["properties"], **weight}} for kind in one["anyOf"] if "properties" in kind
        ]
        words = [kind for kind in one["anyOf"] if "properties" not in kind]
        return {"anyOf": [*one["anyOf"], {"type": "array", "minItems": 1, "items": {"anyOf": [*words, *many]}}]}


def _several(value: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    if value:
        return value
    error = PydanticCustomError("refused", "{text}", {"text": "is an empty list; name a source"})
    raise ValidationError.from_exception_data("sources", [InitErrorDetails(type=error, loc=(), input=value)])


def _part(family: Family, number: int, value: Any) -> Part:
    """Entry `number` of a list; the places of what is wrong begin with its number."""
    if isinstance(value, Part):
        return value
    weight = {"weight": value["weight"]} if isinstance(value, dict) and "weight" in value else {}
    told = {key: item for key, item in value.items() if key != "weight"} if weight else value
    try:
        return Part(choose(family, told), _Weight.model_validate(weight).weight)
    except ValidationError as error:
        details = [
            InitErrorDetails(
                type=PydanticCustomError("refused", "{text}", {"text": problem["ctx"]["text"]})
                if problem["type"] == "refused"
                else PydanticCustomError(problem["type"], "{text}", {**problem.get("ctx", {}), "text": problem["msg"]}),
                loc=(number, *problem["loc"]),
                input=problem["input"],
            )
            for problem in error.errors(include_url=False)
        ]
        raise ValidationError.from_exception_data("sources", details) from None
