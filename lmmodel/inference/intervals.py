"""How sure a score is: 95 % intervals over the examples, as the half-width that stands behind a ±.

A mean and a ratio of sums (bits per byte) have closed forms; chrF, BLEU and their like are computed from all examples
at once, so the examples are drawn again, a thousand times, with sacrebleu's own arithmetic; any other figure likewise.
The draws come from a generator with a fixed seed: the same examples give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_Z = 1.959963984540054  # 95 % of a normal distribution lies within so many standard deviations
_DRAWS = 1000
_SLOW_DRAWS = 200  # for figures that are computed afresh from each draw


def half_width(aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any]) -> float | None:
    """Of the figure that lm-eval's `aggregate` makes of `values`; None where one example says nothing about others."""
    from lm_eval.api import metrics

    if len(values) < 2:
        return None
    if aggregate is metrics.mean:
        return mean(np.asarray(values, dtype=np.float64))
    if aggregate is metrics.bits_per_byte:
        sums = np.asarray(values, dtype=np.float64)
        return ratio(sums[:, 0] / math.log(2), sums[:, 1])
    if aggregate in (metrics.chrf, metrics.chrfpp, metrics.bleu, metrics.ter):
        return _by_sacrebleu(aggregate.__name__, values)
    return _drawn_again(aggregate, values)


def mean(values_N: np.ndarray) -> float:
    """Of a mean: from the spread of the values."""
    return float(_Z * values_N.std(ddof=1) / math.sqrt(len(values_N)))


def ratio(above_N: np.ndarray, below_N: np.ndarray) -> float:
    """Of sum(above) / sum(below): from the spread of each example's departure from the ratio of all."""
    departures_N = above_N - above_N.sum() / below_N.sum() * below_N
    return float(_Z * departures_N.std(ddof=1) * math.sqrt(len(above_N)) / below_N.sum())


def _by_sacrebleu(name: str, values: Sequence[Any]) -> float:
    """Of a score over a corpus of (reference, answer): from the sums of each example's n-gram counts."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    metric = {"chrf": CHRF(), "chrfpp": CHRF(word_order=2), "bleu": BLEU(), "ter": TER()}[name]
    references = [[reference] if isinstance(reference, str) else list(reference) for reference, _ in values]
    answers = [answer if isinstance(answer, str) else answer[0] for _, answer in values]
    streams = [[r[min(i, len(r) - 1)] for r in references] for i in range(max(map(len, references)))]
    counts_NC = np.array(metric._extract_corpus_statistics(answers, streams), dtype=np.float64)
    draws = _draws(len(values), _DRAWS)
    return _spread([metric._compute_score_from_stats(counts_NC[drawn].sum(axis=0)).score for drawn in draws])


def _drawn_again(aggregate: Callable[[Sequence[Any]], float], values: Sequence[Any]) -> float:
    return _spread([float(aggregate([values[i] for i in drawn])) for drawn in _draws(len(values), _SLOW_DRAWS)])


def _draws(examples: int, times: int) -> np.ndarray:
    return np.random.default_rng(0).integers(examples, size=(times, examples))


def _spread(figures: list[float]) -> float:
    low, high = np.quantile(figures, [0.025, 0.975])
    return float(high - low) / 2
