"""The drawing of a design: every count in its place, every layer that differs, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lmmodel.architecture import check, count
from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.finding import Finding
from lmmodel.architecture.resolve import designs
from lmmodel.params.refusal import Refusal
from pipelines import cli, contrast, drawing
from pipelines.pages import design
from tests.pipelines.a_project import ROOT

TINY = ROOT / "tests" / "tiny.yaml"

DRAWN = """\
                                                                parameters    FLOPs a token, forward
  tokens_BT
    embedding       320 tokens x 32, tied to the head          10,240  37 %                    -
  ┌ 2 layers, prenorm ─────────────────────────────────┐
  │    rms                                             │
  │    multi_head    4 heads on 1 key-value head,      │        5,120  18 %          18,432  29 %
  │                  rotary                            │
  │    gated         silu, hidden 64                   │       12,288  44 %          24,576  39 %
  └────────────────────────────────────────────────────┘
"""


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of parameters alone; a page is 100 columns wide."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    for code in ("lmmodel", "pipelines"):
        (tmp_path / code).symlink_to(ROOT / code)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "params.yaml").write_text(TINY.read_text().replace("heads: 2", "heads: 4"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def drawn(name: str | None = None) -> list[str]:
    given = design.chosen(name, published_size=False)
    return list(drawing.drawn(given.declaration, count.measure(given.declaration).dump()))


def figures(lines: list[str], label: str) -> list[int]:
    """The numbers with thousands of every row that has `label`."""
    rows = [line for line in lines if label in line]
    return [int(word.replace(",", "")) for row in rows for word in row.split() if word.replace(",", "").isdigit()]


def test_the_parts_of_a_drawing_add_up_to_the_built_model() -> None:
    counts = count.measure(design.chosen(None, published_size=False).declaration)
    lines = drawn()
    assert figures(lines, "total") == [counts.parameters, counts.flops_per_token]
    for part in ("attention", "feed_forward"):
        kind = {"attention": "multi_head", "feed_forward": "gated"}[part]
        assert counts.parts[part].parameters in figures(lines, kind)
        assert counts.parts[part].flops_per_token in figures(lines, kind)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("columns", ["60", "80", "100", "120", "200"])
def test_a_drawing_fits_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, drawn())) <= max(80, min(120, int(columns)))


@pytest.mark.parametrize("name", designs())
def test_every_published_design_is_drawn_with_its_count(name: str) -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("depth: 2", "depth: 6").replace("width: 32", "width: 64"))
    declaration = design.chosen(name, published_size=False).declaration
    counts = count.measure(declaration).dump()
    lines = list(drawing.drawn(declaration, counts))
    assert figures(lines, "total")[0] == counts["parameters"]
    assert max(map(len, lines)) <= 100


def test_layers_that_differ_are_named_and_counted_apart() -> None:
    Path("experiments/mine.yaml").write_text(
        "attention: {kind: multi_head, kv_heads: 1}\n"
        "layers: {local: {attention: {window: 8}}, global: {attention: {kv_heads: 2}}}\npattern: [local, global]\n"
    )
    lines = drawn("experiments/mine.yaml")
    text = "\n".join(lines)
    assert "2 layers, prenorm: local, global" in text
    assert "local, 1 layer" in text
    assert "window 8" in text
    assert [number for number in figures(lines, "multi_head") if number in (2560, 3072)] == [
        2 * 32 * 32 + 2 * 8 * 32,
        2 * 32 * 32 + 2 * 16 * 32,
    ]


def test_a_mixer_that_orders_itself_lets_the_position_pass_by() -> None:
    Path("experiments/mine.yaml").write_text("position: rotary\nattention: gated_delta\n")
    assert "orders itself: rotary passes by" in " ".join(
        " ".join(drawn("experiments/mine.yaml")).replace("│", " ").split()
    )


def test_sections_of_a_file_replace_those_of_the_parameters() -> None:
    Path("variant.yaml").write_text("model: {width: 64, depth: 3, heads: 4, context: 16, design: gpt2}\n")
    given = design.chosen("variant.yaml", published_size=False)
    assert (given.declaration.width, given.declaration.depth) == (64, 3)
    assert given.declaration.vocab_size == 320


def test_a_published_design_has_its_published_size() -> None:
    given = design.chosen("llama3", published_size=True)
    counts = count.measure(given.declaration)
    assert counts.parameters == 8_030_261_248
    lines = list(drawing.drawn(given.declaration, counts.dump()))
    assert figures(lines, "total") == [counts.parameters, counts.flops_per_token]
    assert max(len(line) for line in lines) <= 100


def test_a_batch_at_a_published_size_holds_whole_sequences() -> None:
    section: Any = design.chosen("llama3", published_size=True).sections["pretrain"]
    assert section.batch_tokens == 8192
    assert section.sequences(8192) == 1
    assert section.optimizer == design.chosen(None, published_size=False).sections["pretrain"].optimizer  # type: ignore[attr-defined]


def test_a_published_design_is_checked_at_the_size_of_this_project(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []

    def hard(declaration: Declaration) -> list[Finding]:
        widths.append(declaration.width)
        return [Finding("causality", False, "it looks ahead")]

    monkeypatch.setattr(check, "hard", hard)
    with pytest.raises(SystemExit):
        cli.main(["design", "llama3", "--published"])
    assert widths == [32]
    assert "it looks ahead" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_page_of_a_published_design(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["design", "llama3", "--published"])
    page = capsys.readouterr().out
    assert "width 4,096, depth 32, 32 heads of 128, context 8,192" in page
    assert "checked at width 32 in" in page
    assert "rows of 8,192 tokens that fit at once, of 1 in a batch" in " ".join(page.split())


@pytest.mark.parametrize(
    ("name", "told"),
    [("lama3", "^'lama3' is not one of .*did you mean 'llama3'"), ("no.yaml", "there is no such file")],
)
def test_an_unknown_design_is_refused(name: str, told: str) -> None:
    with pytest.raises(Refusal, match=told):
        design.chosen(name, published_size=False)


def test_two_designs_differ_in_what_they_were_told_and_in_what_it_costs() -> None:
    sides = []
    for name in (None, "llama3"):
        given = design.chosen(name, published_size=False)
        sides.append((name or "params.yaml", given.declaration, count.measure(given.declaration).dump()))
    lines = list(contrast.contrasted(*sides))
    told = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("    ")}
    assert told["position.theta"] == ["10,000", "500,000"]
    assert told["embedding.tied"] == ["true", "false"]
    assert "attention.kind" not in told
    assert told["head"] == ["-", "10,240"]
    assert "block prenorm" in "\n".join(lines)


def test_a_wide_design_is_checked_narrower_beside_another_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def judged(declaration: Declaration, *, smaller: Declaration | None = None) -> dict[str, Any]:
        checked.append((smaller or declaration).width)
        return count.measure(declaration).dump()

    monkeypatch.setattr(design.stage, "judged", judged)
    cli.main(["design", "llama3", "--published", "--against", "gpt2"])
    assert max(checked) <= 128
    assert "4,096" in capsys.readouterr().out


def test_a_design_against_itself_differs_in_nothing() -> None:
    given = design.chosen(None, published_size=False)
    side = ("a", given.declaration, count.measure(given.declaration).dump())
    assert "  differs in nothing: the same declaration" in list(contrast.contrasted(side, side))


@pytest.mark.slow
def test_the_whole_page_is_checked_drawn_and_timed_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["design"])
    page = capsys.readouterr().out
    assert page.startswith("params.yaml:4   width 32, depth 2, 4 heads of 8, context 32, vocabulary 320")
    assert DRAWN in page
    assert "this machine" in page
    assert "H200" in page
    cli.main(["design", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert data["declaration"]["width"] == 32
    assert data["counts"]["parameters"] == figures(page.splitlines(), "total")[0]
