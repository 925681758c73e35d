"""A value that does not fit is refused in words that name the place, the value and what would fit."""

from typing import ClassVar, Literal

import pytest
from pydantic import ConfigDict, Field, model_validator

from lmmodel.params.document import parse
from lmmodel.params.refusal import Refusal
from lmmodel.params.settings import Count, Fraction, Natural, Positive, Settings, Words, exactly_one, settle


class Budget(Settings):
    tokens: Count | None = None
    epochs: Positive | None = None

    @model_validator(mode="after")
    def _one(self):
        exactly_one(self, "tokens", "epochs")
        return self


class Checked(Settings):
    times: Count = 1


class Section(Settings):
    model_config = ConfigDict(serialize_by_alias=True)

    budget: Budget = Budget(tokens=1)
    precision: Literal["auto", "float32"] = "auto"
    micro: Count | Literal["auto"] = "auto"
    tied: bool = True
    part: Fraction = 0.5
    skip: Natural = 0
    words: Words = ()
    checked: Checked = Field(default=Checked(), alias="validate")


def section(text: str) -> Section:
    return settle(Section, parse(f"s:\n  {text}\n", name="params.yaml"), ("s",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "budget: {tokens: '3e4'}",
            "s.budget.tokens '3e4' is text, and a whole number is needed: write 3e4 unquoted",
        ),
        ("budget: {tokens: many}", "s.budget.tokens 'many' is text, and a whole number is needed"),
        ("budget: {tokens: 0}", "s.budget.tokens 0 should be at least 1"),
        ("budget: {tokens: 2.5}", "s.budget.tokens 2.5 should be a whole number"),
        ("budget: {tokens: true}", "s.budget.tokens true should be a whole number"),
        ("budget: {token: 1}", "s.budget.token is not a key here; there are tokens, epochs: did you mean 'tokens'?"),
        ("budget: {tokens: 1, epochs: 1}", "s.budget takes exactly one of tokens, epochs; tokens and epochs are given"),
        ("budget: {}", "s.budget takes exactly one of tokens, epochs; none is given"),
        ("budget: 3", "s.budget 3 should be keys and values"),
        ("precision: flot32", "s.precision 'flot32' is not one of auto, float32: did you mean 'float32'?"),
        ("micro: x", "s.micro 'x' is text, and a whole number is needed, or auto"),
        ("tied: yes", "s.tied 'yes' is a word in YAML 1.2, not a truth value: write true"),
        ("tied: off", "s.tied 'off' is a word in YAML 1.2, not a truth value: write false"),
        ("part: 1.5", "s.part 1.5 should be at most 1"),
        ("part: .nan", "s.part nan is not a finite number"),
        ("words: one", "s.words 'one' should be a list"),
        ("words: [a, 3]", "s.words.1 3 should be a word"),
        ("skip: -1", "s.skip -1 should be at least 0"),
        (
            "valdate: {times: 2}",
            "s.valdate is not a key here; there are budget, precision, micro, tied, part, skip, words, validate: "
            "did you mean 'validate'?",
        ),
        ("validate: {time: 2}", "s.validate.time is not a key here; there are times: did you mean 'times'?"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line_and_the_choices(text, message):
    with pytest.raises(Refusal) as refused:
        section(text)
    assert str(refused.value) == f"params.yaml:2: {message}"


@pytest.mark.parametrize("spelling", ["3e4", "30000", "30_000", "3.0e+4", "30000.0", "+3E4"])
def test_every_spelling_of_a_whole_number_is_one(spelling):
    assert section(f"budget: {{tokens: {spelling}}}").budget.tokens == 30_000


def test_a_section_that_is_missing_or_no_mapping_is_refused():
    with pytest.raises(Refusal, match="params.yaml: s is missing"):
        settle(Section, parse("t: 1", name="params.yaml"), ("s",))
    with pytest.raises(Refusal, match="params.yaml:1: s should hold keys and values, not 3"):
        settle(Section, parse("s: 3", name="params.yaml"), ("s",))


def test_settings_are_frozen_and_round_trip():
    told = section("budget: {epochs: 2}")
    assert Section.model_validate(told.dump()) == told
    with pytest.raises(ValueError, match="frozen"):
        told.skip = 3


def test_what_is_told_in_two_ways_is_refused_with_both_values():
    class Either(Settings):
        alternatives: ClassVar = (("number", "ratio"),)

        number: Count | None = None
        ratio: Positive | None = None

    assert Either(ratio=0.5).number is None
    with pytest.raises(Refusal) as refused:
        settle(Either, parse("s:\n  number: 3\n  ratio: 0.5", name="params.yaml"), ("s",))
    assert str(refused.value) == "params.yaml:1: s takes number or ratio, not both; 3 and 0.5 are given"
