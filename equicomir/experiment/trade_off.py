"""What detail costs, or brings: every variant by how much survives and by how often it registers.

Detail that does not help alignment is decoration, and alignment without detail is no answer to the
question. So the two are read together, at one width of one set: the front is of variants that no
other one exceeds in both, and the rank correlation says whether the two go together at all.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from equicomir.experiment.rows import Row
from equicomir.shapes import Array, ArrayMask

#: Names of what is measured by :func:`equicomir.evaluation.detail.detail`, for a table.
MEASURES = {
    "coherence_between": "coherence of the two",
    "coherence_first": "first and image",
    "coherence_second": "second and image",
    "gradient_correlation_between": "gradients of the two",
    "edge_f1_between": "edges of the two",
    "edge_f1_by_chance_between": "by chance",
    "coherence_floor": "coherence by chance",
}


def learned(rows: Sequence[Row]) -> list[Row]:
    """Those whose detail was measured: raw images have no representation."""
    return [one for one in rows if np.isfinite(one.coherence)]


def _one_a_training(rows: Sequence[Row]) -> list[Row]:
    """Of the variants that share a training the one that succeeds most."""
    best: dict[str, Row] = {}
    for one in sorted(learned(rows), key=lambda one: (-one.success, one.variant)):
        best.setdefault(one.training, one)
    return [one for one in rows if one in best.values()]


def unexceeded(points: Array) -> ArrayMask:
    """Which points no other exceeds in one coordinate without falling short in another.

    Args:
        points: (points, coordinates), more is better in each.

    Example:
        >>> unexceeded(np.array([[0.9, 0.4], [0.2, 0.8], [0.1, 0.8]])).tolist()
        [True, True, False]
    """
    at_least = (points[None] >= points[:, None]).all(-1)
    more = (points[None] > points[:, None]).any(-1)
    return np.asarray(~(at_least & more).any(1))


def front(rows: Sequence[Row]) -> list[Row]:
    """The variants than which no other keeps more detail and succeeds more often.

    Args:
        rows: of one set and width.

    Returns:
        Those, by falling success. One that is equalled in both stays; one that is exceeded in one
        and equalled in the other goes.
    """
    those = learned(rows)
    best = unexceeded(np.array([(one.coherence, one.success) for one in those]).reshape(-1, 2))
    kept = [one for one, stays in zip(those, best, strict=True) if stays]
    return sorted(kept, key=lambda one: (-one.success, one.coherence, one.variant))


def trade_off(rows: Sequence[Row]) -> str | None:
    """One sentence: whether detail and success go together, and who is on the front.

    A training is one point, whatever registers through it: with what succeeds most.

    Detail is the coherence of fine structure between the two representations. Spearman's rank
    correlation over variants describes these variants: it has no interval, as they are no sample.

    Args:
        rows: of one set and width.

    Returns:
        None with fewer than three trainings, or where all are alike in one of the two.
    """
    those = _one_a_training(rows)
    detail, success = ([getattr(one, name) for one in those] for name in ("coherence", "success"))
    if len(those) < 3 or np.ptp(detail) == 0 or np.ptp(success) == 0:
        return None
    together = float(spearmanr(detail, success).statistic)
    best = ", ".join(
        f"{one.variant} ({one.coherence:.3f}, {100 * one.success:.0f} %)" for one in front(those)
    )
    return (
        f"{those[0].data_set}, {those[0].width} px: over {len(those)} trainings detail and success "
        f"have a rank correlation of {together:+.2f}; none exceeds in both: {best}"
    )
