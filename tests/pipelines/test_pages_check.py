"""`lmmodel check`: what is checked, by which tests, what is shown, and when it ends with 1."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lmmodel.params.refusal import Refusal
from pipelines import cli, sizing
from pipelines.pages import check
from pipelines.placing import placed
from tests.architecture.faulty import mixer
from tests.pipelines.a_project import ROOT

FORGETS_ITS_OFFSET = ("span.positions_BT) for x", "torch.arange(x_BTD.size(1))[None]) for x")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny parameters, and the worked example of a component."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    shutil.copy(ROOT / "tests" / "tiny.yaml", "params.yaml")
    Path("experiments").mkdir()
    shutil.copy(ROOT / "experiments" / "fading.py", "experiments/fading.py")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    code = 0
    try:
        cli.main(["check", *words])
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def broken(change: tuple[str, str] = FORGETS_ITS_OFFSET) -> str:
    """The worked example with a fault in it."""
    text = Path("experiments/fading.py").read_text()
    assert change[0] in text
    Path("experiments/broken.py").write_text(text.replace(*change))
    return "experiments/broken.py"


@pytest.mark.parametrize("name", [(), ("gpt2",), ("experiments/mine.yaml",), ("experiments/fading.py",)])
def test_a_sound_design_passes_wherever_it_stands(name: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiments/mine.yaml").write_text("like: gpt2\nattention: {window: 8}\n")
    code, page, _ = said(capsys, *name, "--only", "shape", "--only", "cached = full", "--only", "first loss")
    assert code == 0
    assert page.startswith(f"{name[0]}: " if name else "params.yaml: ")
    assert [line.split()[-1] for line in page.splitlines() if " ok " in line]
    assert "3 passed, " in page
    assert max(map(len, page.splitlines())) <= 100


def test_a_component_with_a_fault_is_told_where_how_much_and_what_usually_causes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, page, _ = said(capsys, broken(), "--only", "cached", "--only", "causality")
    words = " ".join(page.split())
    assert code == 1
    assert "experiments/broken.py: Attention, half_life 32, in 2 layers of width 64, 4 heads, context 128" in page
    assert "  causality          ok" in page
    assert "cached = full FAILED attention experiments/broken.py with position rotary in layer 0" in words
    assert "the first wrong prediction is at token 67" in words
    assert "off by " in words
    assert "torch.arange(T)" in words
    assert "1 passed, 1 failed" in page
    assert "lmmodel check experiments/broken.py --only cached" in words


def test_findings_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    code, page, _ = said(capsys, broken(), "--only", "cached", "--only", "same seed", "--json")
    data = json.loads(page)
    assert code == 1
    assert [(finding["name"], finding["verdict"], finding["stops"]) for finding in data["findings"]] == [
        ("cached", "FAILED", True),
        ("seed", "ok", False),
    ]
    assert data["findings"][0]["component"].startswith("attention experiments/broken.py")
    assert data["findings"][0]["cause"]


def test_what_is_accepted_or_doubtful_is_shown_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    broken()
    text = Path("params.yaml").read_text()
    text = text.replace("{kind: multi_head, kv_heads: 1}", "experiments/broken.py\n    initial: {std: 0.4}")
    Path("params.yaml").write_text(text.replace("  context: 32\n", "  context: 32\n  accept: [cached]\n"))
    code, page, _ = said(capsys, "--only", "cached", "--only", "first loss")
    assert code == 0
    assert "cached = full      accepted" in page
    assert "first loss         doubtful" in page
    assert "1 doubtful, 1 accepted" in page


def test_a_component_that_cannot_even_be_imported_is_a_failure_and_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("experiments/broken.py").write_text(f"import nowhere\n{mixer('pass')}")
    code, page, _ = said(capsys, "experiments/broken.py")
    assert code == 1
    assert "it cannot be built: ModuleNotFoundError: No module named 'nowhere'" in " ".join(page.split())
    assert "1 failed" in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--only", "cashed"), "did you mean 'cached'?"),
        (("lama3",), "did you mean 'llama3'?"),
        (("experiments/nothing.py",), "'experiments/nothing.py' does not exist here"),
        (("fading.py",), "should be a file experiments/....py"),
        (("experiments/empty.py",), "a component defines one class of Norm, Position, Attention, FeedForward, Block; "),
        (("experiments/two.py",), "it defines Norm and Block"),
        (("experiments/wrong.py",), "experiments/wrong.py:1: is not Python"),
        (("experiments/latin.py",), "experiments/latin.py: is not Python: 'utf-8' codec can't decode"),
        (("experiments/demanding.py",), "design.attention.taps is missing"),
        (("experiments/no_options.py",), "defines no Options"),
        (("experiments/no_name.py",), "'no_name.py': its Options cannot be read: NameError: name 'nowhere' is not"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("experiments/empty.py").write_text("")
    Path("experiments/two.py").write_text("class Norm: ...\nclass Block: ...\n")
    Path("experiments/wrong.py").write_text("class Norm(:\n")
    Path("experiments/no_name.py").write_text("class Options:\n    x = nowhere\n\nclass Norm: ...\n")
    Path("experiments/no_options.py").write_text("class Norm: ...\n")
    Path("experiments/latin.py").write_bytes("class Norm: 'é'\n".encode("latin-1"))
    demanding = "from lmmodel.params.settings import Settings\nclass Options(Settings):\n    taps: int\n"
    Path("experiments/demanding.py").write_text(f"{demanding}class Attention: ...\n")
    code, page, error = said(capsys, *words)
    assert (code, page) == (1, "")
    assert told in error
    assert len(error.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("honours", "position"),
    [('{"queries and keys", "scores"}', "rotary"), ('{"scores"}', "alibi"), ("()", "none")],
)
def test_a_mixer_is_placed_with_a_position_that_it_has_a_use_for(honours: str, position: str) -> None:
    source = mixer("pass").replace('honours = frozenset({"queries and keys"})', f"honours = frozenset({honours})")
    Path("experiments/part.py").write_text(source)
    family, declaration = placed("experiments/part.py")
    assert family.name == "attention"
    assert declaration.layers[0].position.kind == position


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_the_whole_kit_passes_on_the_design_in_the_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    code, page, _ = said(capsys)
    assert code == 0
    assert all(title in page for title in check.TITLES.values())
    assert "16 passed" in page


def test_titles_are_those_of_the_tests_in_their_order() -> None:
    from lmmodel.architecture.check import HARD
    from lmmodel.architecture.soft import SOFT
    from lmmodel.learning.proof import PROOFS

    assert list(check.TITLES) == [*HARD, *SOFT, *PROOFS]
    assert check.chosen(["same seed", "cached"]) == ("seed", "cached")
    with pytest.raises(Refusal, match="'scale' is not one of shape, "):
        check.chosen(["scale"])


WIDE = "model: {width: 256, depth: 4, heads: 16, context: 32, design: {norm: rms, attention: {kind: multi_head, "


def test_a_wide_design_is_checked_narrower_in_the_same_proportions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("wide.yaml").write_text(WIDE + "kv_heads: 8}, feed_forward: {kind: gated, hidden: 512}}}\n")
    monkeypatch.setattr(sizing, "_QUICK", 90_000)
    code, page, _ = said(capsys, "wide.yaml", "--only", "shape", "--only", "cached = full")
    assert code == 0
    assert page.startswith("wide.yaml: 4 layers of width 256, 16 heads, context 32\n")
    assert "checked in the same proportions at width 64, 4 heads" in page
    assert "(2, 192, 64) out" in page
    declaration, _, _ = check.subject_of("wide.yaml")
    layer = declaration.layers[0]
    assert (layer.attention.options.kv_heads, layer.feed_forward.options.hidden) == (2, 128)
    assert (declaration.depth, declaration.head_width) == (4, 16)


@pytest.mark.parametrize(
    ("quick", "told"),
    [(10**9, "kv_heads: 8}"), (90_000, "kv_heads: 8}, feed_forward: experiments/as_wide_as_this.py")],
)
def test_a_design_that_is_small_or_fits_no_other_width_is_checked_as_it_is(
    quick: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "pipelines" / "templates" / "feed_forward.py").read_text()
    made = "        super().__init__()\n"
    assert made in text
    Path("experiments/as_wide_as_this.py").write_text(text.replace(made, f"{made}        assert sizes.width == 256\n"))
    Path("wide.yaml").write_text(f"{WIDE}{told}}}}}\n")
    monkeypatch.setattr(sizing, "_QUICK", quick)
    declaration, _, subject = check.subject_of("wide.yaml")
    assert declaration.width == 256
    assert "same proportions" not in subject
