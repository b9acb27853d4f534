"""The learning rate as a pure function of the step."""

import math

_RISE = 0.3  # share of the steps in which a cycle rises
_START = 1 / 25  # of the peak, where it begins


def learning_rate(step: int, steps: int, peak: float, schedule: str = "constant", warmup: int = 0) -> float:
    """The rate of step 0 <= step < steps.

    It rises in a straight line over the first `warmup` steps, reaching `peak` with the last of them, and then stays
    (constant) or falls along half a cosine towards 0, which it would reach at `steps` (cosine; Loshchilov and Hutter
    2017, equation 5, without restarts). A cycle (onecycle; Smith and Topin 2018, with cosines) rises from peak / 25 in
    three tenths of the steps behind the warm-up, and falls towards 0 in the others.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / (steps - warmup)  # 0 to below 1
    if schedule == "cosine":
        return peak * _falling(done)
    if done < _RISE:
        return peak * (1 - (1 - _START) * _falling(done / _RISE))
    return peak * _falling((done - _RISE) / (1 - _RISE))


def _falling(done: float) -> float:
    """Half a cosine: 1 at 0, 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * done))
