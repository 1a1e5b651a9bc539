"""How one quantity moves with another while all else stands still: two columns in order of time in, a slope out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.student_t import student_t

BLOCK = 60
MIN_BLOCKS = 6
MAX_BLOCKS = 200


def block_slope(x: NDArray[np.float64], y: NDArray[np.float64], *, level: float = 0.999) -> Interval | None:
    """Return the slope of `y` on `x` within blocks of neighbours, with its interval over blocks.

    Each block has its own level, so what drifts slowly (an hour of day, a bad day) makes no slope.
    The estimate weighs blocks by how much `x` varies in them (the within estimator of panel
    data); the interval is that of a ratio over blocks (sandwich variance, Student's t), so calls
    of one block may depend on one another. None below six blocks in which `x` varies.
    """
    size = max(BLOCK, -(-len(x) // MAX_BLOCKS))
    cross, square = [], []
    for begin in range(0, len(x) - size + 1, size):
        dx = x[begin : begin + size] - x[begin : begin + size].mean()
        if dx.any():
            cross.append(float(dx @ y[begin : begin + size]))
            square.append(float(dx @ dx))
    blocks = len(square)
    if blocks < MIN_BLOCKS or sum(square) <= 0:
        return None
    slope = sum(cross) / sum(square)
    residual = sum((c - slope * s) ** 2 for c, s in zip(cross, square, strict=True))
    # What few blocks weigh must not pass for many.
    effective = sum(square) ** 2 / sum(s * s for s in square)
    if effective < MIN_BLOCKS / 2:
        return None
    error = (residual * blocks / (blocks - 1)) ** 0.5 / sum(square)
    half = student_t(1 - level, effective - 1) * error
    return Interval(slope, slope - half, slope + half, level)
