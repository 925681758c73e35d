"""The page beside a run: its parts are put together in whatever order they come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmmodel import load_declaration
from lmmodel.architecture import count
from pipelines.tracking import description
from tests.project import TREE

DESIGN, TABLE, SAMPLES = "# Design\n\ndrawn\n", "# Evaluation\n\n| a |\n", "# Samples\n\n> said\n> # Design\n"


@pytest.mark.parametrize(
    "order", [(DESIGN, TABLE, SAMPLES), (SAMPLES, DESIGN, TABLE), (TABLE, SAMPLES, TABLE, DESIGN, SAMPLES)]
)
def test_parts_stand_in_one_order_each_once(order: tuple[str, ...]) -> None:
    page = ""
    for part in order:
        page = description.put_in(page, part)
    assert page == f"{DESIGN}\n{TABLE}\n{SAMPLES}"


def test_a_newer_part_takes_the_place_of_the_older_and_what_a_person_wrote_stays() -> None:
    page = description.put_in(f"Mine: look at this one.\n\n{TABLE}", DESIGN)
    page = description.put_in(page, "# Evaluation\n\nanother\n")
    assert page == f"Mine: look at this one.\n\n{DESIGN}\n# Evaluation\n\nanother\n"


def test_a_part_is_taken_out_as_it_was_put_in() -> None:
    page = description.put_in(description.put_in("Mine.", DESIGN), TABLE)
    assert description.part(page, "# Design") == DESIGN.strip()
    assert description.part(page, "# Samples") == ""


def test_what_has_no_place_there_is_left_out() -> None:
    assert description.put_in(TABLE, "# Something else\n") == TABLE


TWO_KINDS = "{like: llama3, layers: {a: {attention: {window: 8}}, b: {}}, pattern: [a, b]}"


@pytest.mark.parametrize("design", ["llama3", TWO_KINDS])
def test_a_design_is_drawn_from_what_its_run_began_with(design: str, tmp_path: Path) -> None:
    sizes = "width: 64, depth: 2, heads: 4, context: 32"
    text = (TREE / "tests/tiny.yaml").read_text()
    before, after = text.index("model:"), text.index("corpus:")
    file = tmp_path / "params.yaml"
    file.write_text(f"{text[:before]}model: {{{sizes}, design: {design}}}\n\n{text[after:]}")
    declaration = load_declaration(file)
    counts = count.measure(declaration).dump()
    page = description.design(json.loads(declaration.canonical()), json.loads(json.dumps(counts)))
    assert page.startswith("# Design\n\n2 layers, width 64, context 32")
    assert f"{counts['parameters']:,}" in page
    assert "tokens_BT" in page
    assert page.count("```") == 2
    assert ("L2, 1 layer" in page) is (design == TWO_KINDS)
