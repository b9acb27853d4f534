"""How sure a figure is: interval of a share, test of two classifiers on the same rows, calibration. Pure functions."""

import math

import numpy as np

from ..errors import DataError

#: 0.975 quantile of the standard normal distribution: 95 % lie between minus and plus this.
Z_95 = 1.959963984540054
#: Calibration bins of equal width over confidence 0 to 1: the number of Guo et al. 2017.
CALIBRATION_BINS = 15
#: Discordant rows up to which the binomial tail is summed in whole numbers; above, by log-gamma (9 digits at 10^6).
_WHOLE_NUMBERS = 20_000


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % score interval (low, high) of a share: Wilson 1927, J. Am. Stat. Assoc. 22(158), 209-212.

    It keeps within 0..1 and near its stated coverage for small counts and shares near 0 or 1, where the textbook
    p ± z·sqrt(p(1-p)/n) does neither (Brown, Cai & DasGupta 2001, Statistical Science 16(2), 101-133).
    No trials tell nothing: (0, 1). Raises DataError unless 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise DataError(f"{successes} successes in {trials} trials is no share")
    if trials == 0:
        return 0.0, 1.0
    share, weight = successes / trials, Z_95**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    # At the ends the two terms cancel to the exact bound, but for rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def binomial_tail(least: int, trials: int) -> float:
    """P(X >= least) for X ~ Binomial(trials, 1/2): summed exactly in whole numbers up to 20,000 trials, by log-gamma
    above. Raises DataError for negative trials."""
    least, trials = int(least), int(trials)  # numpy integers would overflow below
    if trials < 0:
        raise DataError(f"{trials} trials is no count")
    if least <= 0:
        return 1.0
    if 2 * least <= trials:  # the other tail is the shorter sum
        return 1.0 - binomial_tail(trials - least + 1, trials)
    if trials > _WHOLE_NUMBERS:
        return _tail_by_logarithms(least, trials)
    total, term = 0, math.comb(trials, least)
    for count in range(least, trials + 1):
        total += term
        term = term * (trials - count) // (count + 1)
    return total / (1 << trials)  # whole-number division rounds once


def _tail_by_logarithms(least: int, trials: int) -> float:
    scale = math.lgamma(trials + 1) - trials * math.log(2)
    logs = (scale - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in range(least, trials + 1))
    return math.fsum(map(math.exp, logs))


def mcnemar_worse(lost: int, gained: int) -> float:
    """One-sided exact McNemar test: the chance of `lost` or more of the discordant rows being lost if neither of two
    classifiers were better (McNemar 1947, Psychometrika 12(2), 153-157, in its exact, binomial form).

    `lost` rows were right in the old and are wrong in the new one; `gained` rows the reverse. Rows on which both agree
    say nothing. Small values speak for "the new one is worse"; no discordant rows give 1.
    Raises DataError for negative counts.
    """
    if lost < 0 or gained < 0:
        raise DataError(f"{lost} lost and {gained} gained rows are no counts")
    return binomial_tail(lost, lost + gained)


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: mean over rows of |accuracy - mean confidence| of the row's bin, 0 to 1.

    `confidence` (N,) is the probability 0..1 of the predicted class, `correct` (N,) bool. Bins: 15 of equal width,
    closed above, ((i-1)/15, i/15], confidence 0 in the first. Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of
    Modern Neural Networks", ICML, equation 3. No rows: NaN. Raises DataError for a confidence outside 0..1.
    """
    confidence = np.asarray(confidence, np.float64)
    if not ((confidence >= 0) & (confidence <= 1)).all():  # NaN compares false
        raise DataError("a confidence is not within 0 to 1")
    if not len(confidence):
        return math.nan
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.searchsorted(edges, confidence, side="left")
    # |accuracy - confidence| times the bin's rows is the difference of the two sums over the bin.
    gaps = np.bincount(bins, np.asarray(correct, np.float64) - confidence, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
