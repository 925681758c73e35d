"""`lmmodel design --fit`: within the budget, kept in proportion, written once, and a design like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmmodel.architecture import count
from lmmodel.learning.rehearsal import rehearse
from lmmodel.params.document import read
from lmmodel.params.refusal import Refusal
from pipelines import cli, fitting
from pipelines.pages import design
from tests.pipelines.test_pages_design import tiny

__all__ = ["tiny"]
pytestmark = pytest.mark.usefixtures("tiny")


def found(path: str) -> count.Counts:
    return count.measure(design.chosen(path, published_size=False).declaration)


@pytest.mark.parametrize("name", [None, "gpt2", "llama3"])
def test_parameters_fill_the_budget_and_one_layer_more_is_beyond_it(
    name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["design", *([name] if name else []), "--fit", "2M parameters"])
    path = f"experiments/{name or 'params'}_2m_parameters.yaml"
    told = design.chosen(path, published_size=False).declaration
    counts = found(path)
    page = capsys.readouterr().out
    assert page.startswith(f"{path}: width {told.width}, depth {told.depth}, {told.heads} heads of 8: ")
    assert f"{counts.parameters:,} parameters" in page
    assert counts.parameters <= 2_000_000
    text = Path(path).read_text()
    Path("deeper.yaml").write_text(text.replace(f"depth: {told.depth}", f"depth: {told.depth + 1}"))
    assert found("deeper.yaml").parameters > 2_000_000
    before = design.chosen(name, published_size=False).declaration
    assert told.depth / told.width == pytest.approx(before.depth / before.width, rel=0.4)
    assert told.head_width == before.head_width
    ratio = [side.heads // side.layers[0].attention.options.kv_heads for side in (before, told)]
    assert ratio[0] == ratio[1]


def test_a_file_is_never_overwritten() -> None:
    path = Path("experiments/params_100k_parameters.yaml")
    path.write_text("mine: 1\n")
    with pytest.raises(Refusal, match="is there already"):
        cli_show("--fit", "100k parameters")
    assert path.read_text() == "mine: 1\n"


@pytest.mark.parametrize("budget", ["24", "GB", "24 apples", "0 GB", "100M", "-3 GB", "3 GB parameters"])
def test_what_is_no_budget_is_refused(budget: str) -> None:
    with pytest.raises(Refusal, match="is no budget: write '24 GB' or '100M parameters'"):
        fitting.Budget.parse(budget)


def test_budgets_are_read_as_they_are_written() -> None:
    assert fitting.Budget.parse("24 GB").amount == 24e9
    assert fitting.Budget.parse("1.5GiB").amount == 1.5 * 2**30
    assert fitting.Budget.parse("100M parameters") == fitting.Budget("100M parameters", 1e8, "parameters")
    assert fitting.Budget.parse("7b params").amount == 7e9
    assert fitting.Budget.parse("5_771_264 parameters".replace("_", "")).amount == 5_771_264


def test_no_size_within_the_budget_is_a_refusal() -> None:
    with pytest.raises(Refusal, match="no size of this design is within 1 parameters"):
        cli_show("--fit", "1 parameters")


def test_a_design_of_ones_own_that_is_like_another_is_written_out() -> None:
    Path("experiments/base.yaml").write_text("attention: {kind: multi_head, kv_heads: 2}\n")
    Path("experiments/mine.yaml").write_text("like: experiments/base.yaml\nfeed_forward: {kind: gated, hidden: 48}\n")
    cli_show("experiments/mine.yaml", "--fit", "500k parameters")
    told = read("experiments/mine_500k_parameters.yaml").data["model"]["design"]
    assert told["attention"] == {"kind": "multi_head", "queries_per_kv": 2}
    assert told["feed_forward"] == {"kind": "gated", "expansion": 1.5}
    assert "like" not in told


@pytest.mark.slow
def test_memory_is_that_of_a_training_step() -> None:
    cli_show("--fit", "40 MB")
    given = design.chosen("experiments/params_40_mb.yaml", published_size=False)
    deeper = design.chosen("experiments/params_40_mb.yaml", published_size=False).declaration
    deeper = deeper.model_copy(
        update={"layers": (*deeper.layers, deeper.layers[0]), "depth": deeper.depth + 1, "names": ()}
    )
    section = given.sections["pretrain"]
    peaks = [
        rehearse(side, section, precision="float32", sequences=(1,))[0].peak_bytes  # type: ignore[arg-type]
        for side in (given.declaration, deeper)
    ]
    assert peaks[0] <= 40e6 < peaks[1]


def cli_show(*words: str) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    design.arguments(parser)
    design.show(parser.parse_args(words))
