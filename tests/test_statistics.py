"""Intervals, paired tests and calibration against hand-worked numbers, exact fractions and slow loops."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fercli.errors import DataError
from fercli.ops import statistics
from fercli.ops.statistics import (
    binomial_tail,
    calibration_error,
    mcnemar_worse,
    wilson_interval,
)

counts = st.integers(0, 300)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),  # z²/(n+z²) = 3.841459/13.841459
        (10, 10, 0.722467, 1.0),
        (5, 10, 0.236593, 0.763407),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17(8), table I, method 3
        (15, 148, 0.0624, 0.1605),  # the same
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval_is_the_published_one(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_the_score_equation(pair):
    successes, trials = pair
    low, high = wilson_interval(successes, trials)
    share = successes / trials
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):  # |share - p| = z sqrt(p(1-p)/n) is the definition of the interval's ends
        assert (share - bound) ** 2 * trials == pytest.approx(3.841459 * bound * (1 - bound), rel=1e-5, abs=1e-6)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_mirrors(pair):
    successes, trials = pair
    low, high = wilson_interval(successes, trials)
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_what_is_no_share(successes, trials):
    with pytest.raises(DataError) as caught:
        wilson_interval(successes, trials)
    assert str(caught.value) == f"{successes} successes in {trials} trials is no share"


@given(counts, counts)
def test_mcnemar_is_the_sum_of_binomials(lost, gained):
    n = lost + gained
    at_least = [Fraction(math.comb(n, k), 2**n) for k in range(lost, n + 1)]
    assert mcnemar_worse(lost, gained) == pytest.approx(float(sum(at_least)), rel=1e-12)


@given(counts, counts)
def test_mcnemar_is_monotone(lost, gained):
    assert mcnemar_worse(lost + 1, gained) <= mcnemar_worse(lost, gained)
    assert mcnemar_worse(lost, gained + 1) >= mcnemar_worse(lost, gained)


def test_mcnemar_by_hand():
    assert mcnemar_worse(0, 0) == 1.0
    assert mcnemar_worse(3, 0) == 1 / 8
    assert mcnemar_worse(8, 2) == (45 + 10 + 1) / 1024
    assert mcnemar_worse(1, 1) == 3 / 4
    assert mcnemar_worse(np.int64(70), np.int64(0)) == 2.0**-70
    assert mcnemar_worse(5, 0) == 1 / 32  # five losses without a gain: the fewest that are significant at 0.05


def test_large_counts_agree_with_whole_numbers(monkeypatch):
    exact = [binomial_tail(least, 9_000) for least in (4_501, 4_600, 4_800, 5_000, 9_000)]
    monkeypatch.setattr(statistics, "_WHOLE_NUMBERS", 100)
    near = [binomial_tail(least, 9_000) for least in (4_501, 4_600, 4_800, 5_000, 9_000)]
    assert near == pytest.approx(exact, rel=1e-9)


def test_a_million_discordant_rows():
    assert binomial_tail(500_000, 1_000_000) == pytest.approx(0.5003989422, abs=1e-9)  # 1/2 + C(n, n/2) / 2^(n+1)
    assert binomial_tail(501_000, 1_000_000) == pytest.approx(0.022804, abs=1e-6)  # 1 - Phi(1.999)


def test_negative_counts_are_refused():
    with pytest.raises(DataError, match=r"^-1 lost and 2 gained rows are no counts$"):
        mcnemar_worse(-1, 2)
    with pytest.raises(DataError, match=r"^1 lost and -2 gained rows are no counts$"):
        mcnemar_worse(1, -2)
    with pytest.raises(DataError, match=r"^-2 trials is no count$"):
        binomial_tail(0, -2)


def slow_calibration_error(confidence, correct):
    total = 0.0
    for i in range(15):
        rows = [k for k, c in enumerate(confidence) if (i / 15 < c <= (i + 1) / 15) or (i == 0 and c == 0)]
        if rows:
            accuracy = sum(bool(correct[k]) for k in rows) / len(rows)
            mean = sum(float(confidence[k]) for k in rows) / len(rows)
            total += len(rows) / len(confidence) * abs(accuracy - mean)
    return total


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(arrays(np.float64, n, elements=st.floats(0, 1)), arrays(np.bool_, n))
    )
)
def test_calibration_error_is_the_slow_one(pair):
    confidence, correct = pair
    slow = slow_calibration_error(confidence, correct)
    assert calibration_error(confidence, correct) == pytest.approx(slow, abs=1e-12)


def test_calibration_error_by_hand():
    # bin (12/15, 13/15] holds 0.85 twice, one right: gap 0.35; bin (14/15, 1] holds 1.0 right: gap 0.
    assert calibration_error(np.array([0.85, 0.85, 1.0]), np.array([True, False, True])) == pytest.approx(0.7 / 3)
    assert calibration_error(np.full(4, 0.75), np.array([1, 1, 1, 0], bool)) == 0.0
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_confidence_outside_0_to_1_is_refused(bad):
    with pytest.raises(DataError, match=r"^a confidence is not within 0 to 1$"):
        calibration_error(np.array([0.5, bad]), np.array([True, True]))
