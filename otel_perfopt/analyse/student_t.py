"""Critical values of Student's t: a level and degrees of freedom in, the two-sided value out, without scipy."""

from __future__ import annotations

from statistics import NormalDist


def student_t(alpha: float, freedom: float) -> float:
    """Return the two-sided critical value at level `alpha` (Cornish-Fisher expansion about the normal).

    Within 1 % from 6 degrees of freedom on at the levels used here; below 3 they count as 3.
    """
    z = NormalDist().inv_cdf(1 - alpha / 2)
    v = max(3.0, freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
