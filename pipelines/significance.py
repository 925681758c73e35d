"""Whether a difference between candidates is more than the difference of one candidate from itself between seeds.

Several candidates are held against one baseline at once: with five intervals of 95 % each, one in five comparisons of
nothing with nothing would find something. Dunnett (1955), "A multiple comparison procedure for comparing several
treatments with a control", widens them so that all hold together. Where every candidate ran with the same seeds, the
seeds are blocks: what a seed does to all of them alike (the order of the batches, say) is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

Verdict = Literal["better", "worse", "cannot tell"]
Values = Mapping[str, Mapping[int, float]]
"""Candidate -> seed -> what came out."""


@dataclass(frozen=True)
class Against:
    """One candidate against the baseline: the difference of the means over seeds, and its interval, if there is one."""

    name: str
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Judgement:
    """All candidates against the baseline. `smallest`: the difference that could just be told; None without seeds."""

    against: tuple[Against, ...]
    smallest: float | None
    blocks: bool


def judge(values: Values, *, baseline: str, less_is_better: bool, confidence: float = 0.95) -> Judgement:
    """Every candidate of `values` but the baseline, with intervals that hold together with `confidence`."""
    others = [name for name in values if name != baseline]
    blocks = _are_blocks(values)
    spread, freedom = _within_blocks(values) if blocks else _within_groups(values)
    means = {name: float(np.mean(list(seeds.values()))) for name, seeds in values.items()}
    counts = {name: len(seeds) for name, seeds in values.items()}
    errors = {name: spread * (1 / counts[name] + 1 / counts[baseline]) ** 0.5 for name in others}
    if freedom < 1 or spread == 0 or not others:
        none = tuple(Against(name, means[name] - means[baseline], None, None, "cannot tell") for name in others)
        return Judgement(none, None, blocks)
    shares = tuple((counts[name] / (counts[name] + counts[baseline])) ** 0.5 for name in others)
    factor = critical(shares, freedom=freedom, confidence=confidence)
    found = [_against(name, means[name] - means[baseline], factor * errors[name], less_is_better) for name in others]
    return Judgement(tuple(found), factor * max(errors.values()), blocks)


def _against(name: str, difference: float, half: float, less_is_better: bool) -> Against:
    low, high = difference - half, difference + half
    verdict: Verdict = "cannot tell"
    if low > 0 or high < 0:
        verdict = "better" if (high < 0) == less_is_better else "worse"
    return Against(name, difference, low, high, verdict)


def _are_blocks(values: Values) -> bool:
    seeds = [set(found) for found in values.values()]
    return len(seeds) > 1 and len(seeds[0]) > 1 and all(found == seeds[0] for found in seeds)


def _within_blocks(values: Values) -> tuple[float, int]:
    """The standard deviation that is left when each candidate's and each seed's mean are taken out, and its freedom."""
    seeds = sorted(next(iter(values.values())))
    table = np.array([[found[seed] for seed in seeds] for found in values.values()])
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return _clean(float(np.sqrt((rest**2).sum() / freedom)), table), freedom


def _within_groups(values: Values) -> tuple[float, int]:
    """The standard deviation between the seeds of a candidate, over all candidates, and its freedom."""
    groups = [np.array(list(found.values())) for found in values.values()]
    freedom = sum(len(group) for group in groups) - len(groups)
    if freedom < 1:
        return 0.0, freedom
    total = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return _clean((total / freedom) ** 0.5, np.concatenate(groups)), freedom


def _clean(spread: float, values: np.ndarray) -> float:
    """No spread at all, where there is only what rounding leaves."""
    return spread if spread > 1e-12 * float(np.abs(values).max()) else 0.0


@lru_cache(maxsize=64)
def critical(shares: tuple[float, ...], *, freedom: int, confidence: float = 0.95) -> float:
    """How many standard errors wide an interval is to each side, for all to hold together.

    The differences share the baseline, so their errors go together: `shares` are the loadings on it, the square root
    of n_i / (n_i + n_baseline). The probability is an integral over the baseline's error and the pooled spread.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr
    from scipy.stats import chi2

    z, z_weights = np.polynomial.hermite_e.hermegauss(64)
    u, u_weights = np.polynomial.legendre.leggauss(256)
    spreads = np.sqrt(chi2.ppf((u + 1) / 2, freedom) / freedom)[:, None]

    def missed(factor: float) -> float:
        inside = np.ones((len(u), len(z)))
        for share in shares:
            own = (1 - share**2) ** 0.5
            inside *= ndtr((factor * spreads - share * z) / own) - ndtr((-factor * spreads - share * z) / own)
        over_z = inside @ z_weights / z_weights.sum()
        return float(over_z @ u_weights / 2) - confidence

    return float(brentq(missed, 0.1, 2000))
