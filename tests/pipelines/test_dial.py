"""The dial: tokens, batch and rates by published rules, as values that a person changes; what they say stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmmodel.architecture import count
from lmmodel.learning import rules
from lmmodel.learning.outlook import Rates
from lmmodel.params.document import read
from lmmodel.params.refusal import Refusal
from pipelines import dial, fitting, pace
from pipelines.pages import design
from tests.pipelines.test_fitting import cli_show
from tests.pipelines.test_pages_design import tiny

__all__ = ["tiny"]
pytestmark = pytest.mark.usefixtures("tiny")

RATES = Rates(flop_seconds=1e-10, byte_seconds=1e-10, kernel_seconds=1e-5)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose rates are known."""
    machine = pace.Machine("cpu", "float32", 1, RATES, "2026-11-22")
    monkeypatch.setattr(pace, "known", lambda *_: machine)


def dialled(*words: str, name: str | None = None) -> tuple[Any, Any, dial.Dialled]:
    given = design.chosen(name, published_size=False)
    return given, given.declaration, dial.dialled(given, given.declaration, dial.overrides(words))


def test_the_rules_give_what_their_authors_found() -> None:
    """Chinchilla's own size; optima that a repetition of Step Law found at 46 and 872 million parameters."""
    assert rules.tokens(70e9) == 1.4e12
    assert rules.adamw_rate(46_006_272, 127_991_808) == pytest.approx(0.001953, rel=0.2)
    assert rules.adamw_rate(872_415_232, 1_023_934_464) == pytest.approx(0.000691, rel=0.4)
    assert rules.batch_tokens(127_991_808) == pytest.approx(32_768, rel=0.4)
    assert rules.batch_tokens(1_023_934_464) == pytest.approx(131_072, rel=0.4)


def test_values_follow_from_the_size() -> None:
    given, declaration, found = dialled()
    counts = count.measure(declaration)
    inner = counts.parameters - counts.parts["embedding"].parameters
    assert found.tokens == 20 * counts.parameters
    rows, rest = divmod(found.batch_tokens, declaration.context)
    assert rest == 0
    assert rows.bit_count() == 1
    assert found.batch_tokens <= max(rules.batch_tokens(found.tokens), declaration.context) < 2 * found.batch_tokens + 1
    section = dial.settled(given, found, declaration)
    assert section.budget.tokens == found.tokens
    told = {"muon": "adamw_learning_rate"}.get(section.optimizer.kind, "learning_rate")
    rate = rules.adamw_rate(inner, found.tokens)
    assert getattr(section.optimizer.options, told) == pytest.approx(rate, rel=0.05)
    before = given.sections["pretrain"]
    assert (section.schedule, section.precision, section.validation) == (
        before.schedule,
        before.precision,
        before.validation,
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "soap", "lion", "{kind: muon, learning_rate: 0.01}"])
def test_only_rates_that_are_adamws_are_set(optimizer: str) -> None:
    path = Path("params.yaml")
    lines = path.read_text().splitlines()
    begin = lines.index("pretrain:")
    at = next(n for n in range(begin, len(lines)) if lines[n].startswith("  optimizer:"))
    lines[at] = f"  optimizer: {optimizer}"
    path.write_text("\n".join(lines) + "\n")
    given, declaration, found = dialled()
    was, now = given.sections["pretrain"].optimizer, dial.settled(given, found, declaration).optimizer
    changed = {key for key, value in now.options.dump().items() if value != was.options.dump()[key]}
    kind = was.kind
    expected = {"adamw": {"learning_rate"}, "muon": {"adamw_learning_rate"}, "lion": set()}
    assert changed == expected.get(kind, {"learning_rate", "adamw_learning_rate"})


def test_what_a_person_says_stands_and_what_follows_from_it_follows() -> None:
    _, declaration, free = dialled()
    context = declaration.context
    _, _, found = dialled("pretrain.budget.tokens=1000000", "pretrain.optimizer.weight_decay=0.5")
    assert found.section["budget"] == {"tokens": 1_000_000}
    assert found.section["optimizer"]["weight_decay"] == 0.5
    assert found.sources["budget.tokens"] == "as you said"
    assert (found.batch_tokens > free.batch_tokens) == (free.tokens < 500_000)
    _, _, found = dialled(f"pretrain.batch_tokens={3 * context}")
    assert found.batch_tokens == 3 * context
    assert found.tokens == free.tokens


@pytest.mark.parametrize("word", ["pretrain.batch_tokens", "batch_tokens=4", "pretrain.clip=1", "model.width=64"])
def test_what_the_dial_does_not_set_is_refused(word: str) -> None:
    with pytest.raises(Refusal, match=r"--with '.*' is not one of pretrain\.budget\.tokens=VALUE"):
        dial.overrides([word])


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("pretrain.batch_tokens=33", "pretrain.batch_tokens 33 is not a whole number of sequences"),
        ("pretrain.optimizer.speed=3", "speed"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(word: str, told: str) -> None:
    with pytest.raises(Refusal, match=told):
        cli_show("--fit", "this size", "--with", word)
    assert not list(Path("experiments").glob("*.yaml"))


def test_with_needs_fit() -> None:
    with pytest.raises(Refusal, match="--with says what --fit is not to find"):
        cli_show("--with", "pretrain.batch_tokens=32")


def test_this_size_is_kept_and_only_training_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    cli_show("--fit", "this size", "--with", "pretrain.budget.tokens=500000")
    path = "experiments/params_this_size.yaml"
    data = read(path).data
    before, after = (design.chosen(name, published_size=False) for name in (None, path))
    assert after.declaration == before.declaration
    assert after.sections["pretrain"].budget.tokens == 500_000  # type: ignore[attr-defined]
    assert set(data) == {"model", "pretrain"}
    page = capsys.readouterr().out
    assert "pretrain.budget.tokens: 500,000" in page
    assert "as you said" in page
    assert "Li and others, 2025" in Path(path).read_text()


@pytest.mark.usefixtures("timed")
def test_a_time_is_filled_by_the_tokens_that_the_size_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a machine on which a token takes a nanosecond a parameter, seconds are 20 squares of parameters."""
    monkeypatch.setattr(dial, "seconds_per_token", lambda given, section, one: 1e-9 * count.measure(one).parameters)
    cli_show("--fit", "20 minutes")
    given = design.chosen("experiments/params_20_minutes.yaml", published_size=False)
    parameters = count.measure(given.declaration).parameters
    assert 0.5 * 1200 < 20e-9 * parameters**2 <= 1200
    assert given.declaration.head_width == design.chosen(None, published_size=False).declaration.head_width


@pytest.mark.slow
@pytest.mark.usefixtures("timed")
def test_a_time_is_filled_and_one_layer_more_takes_longer(capsys: pytest.CaptureFixture[str]) -> None:
    cli_show("--fit", "20 minutes")
    path = "experiments/params_20_minutes.yaml"
    given = design.chosen(path, published_size=False)
    taken = _seconds(given, given.declaration)
    assert 0.5 * 1200 < taken <= 1200
    deeper = given.declaration.model_copy(
        update={
            "layers": (*given.declaration.layers, given.declaration.layers[-1]),
            "depth": given.declaration.depth + 1,
            "names": (),
        }
    )
    assert _seconds(given, deeper) > 1200
    assert "of training on this machine, not compiled" in capsys.readouterr().out
    assert given.sections["pretrain"].budget.tokens == 20 * count.measure(given.declaration).parameters  # type: ignore[attr-defined]


def _seconds(given: Any, declaration: Any) -> float:
    found = dial.dialled(given, declaration, {})
    return found.tokens * dial.seconds_per_token(given, dial.settled(given, found, declaration), declaration)


def test_a_time_needs_a_machine_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "known", lambda *_: None)
    with pytest.raises(Refusal, match="nobody knows yet how fast this machine is: add --measure"):
        cli_show("--fit", "10 minutes")


def test_times_are_read_as_they_are_written() -> None:
    for text, seconds in (("90 s", 90), ("10 minutes", 600), ("1.5h", 5400), ("2 days", 172_800), ("1 min", 60)):
        assert fitting.Budget.parse(text) == fitting.Budget(text, seconds, "seconds")
    assert fitting.Budget.parse("This size").unit == "size"
