"""The learning rate as a pure function of the step."""

import math


def learning_rate(step: int, steps: int, peak: float, schedule: str = "constant", warmup: int = 0) -> float:
    """The rate of step 0 <= step < steps.

    It rises in a straight line over the first `warmup` steps, reaching `peak` with the last of them, and then stays
    (constant) or falls along half a cosine towards 0, which it would reach at `steps` (cosine; Loshchilov and Hutter
    2017, equation 5, without restarts).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / (steps - warmup)  # 0 to below 1
    return peak * 0.5 * (1 + math.cos(math.pi * done))
