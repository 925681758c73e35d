"""The letters are split as said, no recipe is larger than what it is held against, and the curve comes out as data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tinyshakespeare as benchmark
from lmmodel.architecture.model import build
from lmmodel.architecture.resolve import resolve
from lmmodel.params.document import Document

NANOGPT_CPU_PARAMETERS = 804_096  # 4 layers of width 128, context 64, tied, 65 letters
TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n" * 40


@pytest.mark.parametrize("name", ["short", "small"])
def test_a_small_recipe_is_no_larger_than_the_model_it_is_held_against(name):
    declared = resolve(Document("recipe", {"model": benchmark.RECIPES[name].model}, {}), vocab_size=65)
    assert sum(one.numel() for one in build(declared, device="meta").parameters()) <= NANOGPT_CPU_PARAMETERS


def test_what_validates_is_never_learnt_from():
    letters = benchmark.Letters(TEXT + "~" * (len(TEXT) // 9), context=8, rows=16, seed=1)
    tilde = letters.alphabet.index("~")
    assert len(letters.held_out) == pytest.approx(0.1 * (len(letters.train) + len(letters.held_out)), abs=1)
    assert not any((letters.batch(step).targets_BT == tilde).any() for step in range(50))
    seen = np.concatenate([batch.targets_BT.flatten() for batch in letters.validation(0)])
    assert (seen == tilde).all()
    assert len(seen) > len(letters.held_out) - 16


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [8, 31])
def test_the_curve_is_printed_as_data(seconds: int, tmp_path: Path):
    text = tmp_path / "text"
    text.write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.tinyshakespeare", "--text", str(text), "--json"]
    told = json.loads(subprocess.check_output([*command, "--seconds", str(seconds)], text=True, timeout=300))
    assert told["steps"] >= 10
    assert [len(point) for point in told["curve"]] == [2] * len(told["curve"])
    assert told["nats_per_character"] == told["curve"][-1][1] < 2
    assert told["parameters"] <= NANOGPT_CPU_PARAMETERS
