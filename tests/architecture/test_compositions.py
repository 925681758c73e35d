"""Random designs of all kinds and options: what the declarations allow builds, is sound, decodes, saves, loads and is
as large as counted; what they forbid is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from lmmodel.architecture import check, count
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.families import ATTENTION, PARTS, POSITION
from lmmodel.architecture.model import build
from lmmodel.params.refusal import Refusal
from tests.architecture.drawing import KINDS, designs, written
from tests.architecture.properties import declared

SIZE = "width: 16, depth: 3, heads: 4, context: 48"
QUICK = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def test_every_kind_is_drawn() -> None:
    assert {family: sorted(kinds) for family, kinds in KINDS.items()} == {
        name: sorted(family.names()) for name, family in PARTS.items()
    }


def allowed(design: dict[str, Any]) -> Declaration | None:
    """The declaration of what is allowed, or None where it is refused: in a line or two that name file and key."""
    try:
        declaration = declared(written(design), SIZE)
    except Refusal as refusal:
        first, *more = str(refusal).splitlines()
        assert first.startswith("params.yaml:1: model.design")
        assert len(first) > len("params.yaml:1: model.design.attention ")
        assert len(more) < 2
        event("refused")
        return None
    event("allowed")
    return declaration


def assert_sound_and_counted(declaration: Declaration) -> None:
    findings = check.hard(declaration)
    assert [finding.text for finding in findings if not finding.passed] == []
    assert [finding.name for finding in findings] == list(check.HARD)
    made = build(declaration, seed=1)
    assert count.measure(declaration).parameters == sum(parameter.numel() for parameter in made.parameters())
    again = Declaration.parse(declaration.canonical())
    assert again.canonical() == declaration.canonical()
    loaded = build(again, seed=2)
    loaded.load_state_dict(made.state_dict())
    tokens_BT = torch.arange(19)[None]
    with torch.no_grad():
        assert torch.equal(loaded.eval()(tokens_BT), made.eval()(tokens_BT))


@settings(max_examples=10, derandomize=True, **QUICK)
@given(designs())
def test_what_the_declarations_allow_is_sound_and_the_rest_is_refused(design: dict[str, Any]) -> None:
    declaration = allowed(design)
    if declaration is not None:
        assert_sound_and_counted(declaration)


@pytest.mark.slow
@settings(max_examples=150, **QUICK)
@given(designs())
def test_much_of_what_the_declarations_allow_is_sound(design: dict[str, Any]) -> None:
    declaration = allowed(design)
    if declaration is not None:
        assert_sound_and_counted(declaration)


@given(st.sampled_from(list(KINDS["position"])), st.sampled_from(list(KINDS["attention"])))
def test_a_position_is_refused_exactly_where_the_mixer_has_no_use_for_it(position: str, attention: str) -> None:
    mixer, acts_on = ATTENTION.load(attention), POSITION.load(position).acts_on
    fits = acts_on in {"nothing", "embedding", *mixer.honours} or getattr(mixer, "orders_itself", False)
    design = {"position": position, "layers": {"a": {"attention": attention}}, "pattern": ["a"]}
    assert (allowed(design) is not None) == fits
