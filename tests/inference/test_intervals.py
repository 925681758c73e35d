"""Half-widths of 95 % intervals: closed forms against textbook and resampling, resampling against itself."""

import math
import random

import numpy as np
import pytest
from lm_eval.api import metrics
from sacrebleu.metrics.chrf import CHRF

from lmmodel.inference.intervals import half_width

CHANCE = np.random.default_rng(1)


def drawn_again(aggregate, values, times=4000) -> float:
    chance = random.Random(3)
    figures = [aggregate(chance.choices(values, k=len(values))) for _ in range(times)]
    low, high = np.quantile(figures, [0.025, 0.975])
    return (high - low) / 2


def test_a_share_has_the_interval_of_the_binomial():
    values = [1.0] * 120 + [0.0] * 280
    assert half_width(metrics.mean, values) == pytest.approx(1.96 * math.sqrt(0.3 * 0.7 / 399), rel=1e-4)
    assert half_width(metrics.mean, values) == pytest.approx(1.96 * metrics.mean_stderr(values), rel=1e-4)


def test_bits_per_byte_have_the_interval_that_drawing_documents_again_gives():
    sizes = CHANCE.integers(20, 2000, size=300)
    nats = -sizes * CHANCE.normal(1.3, 0.2, size=300)
    values = list(zip(nats.tolist(), sizes.tolist(), strict=True))
    assert half_width(metrics.bits_per_byte, values) == pytest.approx(
        drawn_again(metrics.bits_per_byte, values), rel=0.1
    )


def test_chrf_has_the_interval_that_sacrebleu_gives():
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    values = [[" ".join(CHANCE.choice(words, 4)), " ".join(CHANCE.choice(words, 4))] for _ in range(100)]
    score = CHRF().corpus_score([said for _, said in values], [[true for true, _ in values]], n_bootstrap=1000)
    assert half_width(metrics.chrf, values) == pytest.approx(score._ci, rel=0.15)
    assert half_width(metrics.chrf, values) == half_width(metrics.chrf, values)


def test_any_other_figure_is_drawn_again():
    values = CHANCE.normal(size=200).tolist()
    assert half_width(metrics.median, values) == pytest.approx(drawn_again(metrics.median, values), rel=0.3)


def test_one_example_says_nothing_about_others():
    assert half_width(metrics.mean, [1.0]) is None
