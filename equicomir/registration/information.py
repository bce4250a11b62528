"""Global search by mutual information: for raw images of two modalities, without any training.

Mutual information asks only that what looks alike in one image looks alike in the other, not that
the two look like each other. The search is that of :mod:`equicomir.registration.frame`; here are
three measures for it. Mutual information and its normalised form come from the joint histogram of
``levels`` x ``levels`` intensities, one cross-correlation an entry. Squared-loss mutual
information comes from the correlations of a few functions of the rank, however many intensities
there are, and is smoother. Where there are pixels enough for twice as many levels, the end is
their :mod:`~equicomir.registration.summit`, with each image held still in turn.

All look at the *ranks* of the intensities alone (of the mean over channels), so that nothing
changes if the intensities of an image are mapped by any increasing or decreasing function.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from equicomir.registration import frame
from equicomir.registration.alignment import Alignment, checked
from equicomir.registration.measures import Measure, view
from equicomir.registration.summit import height, summit
from equicomir.shapes import Array, ArrayMask, check_array

_COARSEST_SIDE = 48  # pixels: of fewer, a joint histogram says little
_FUNCTIONS = 3  # of the rank, in squared-loss mutual information
_RIDGE = 1e-3  # added to their variances, each of which is about a half
_RANKS = 256  # at most so fine, where there are no levels
_PIXELS_PER_ENTRY = 64  # of the joint histogram, so that the last climb takes twice the levels


def register(
    fixed: Array,
    moving: Array,
    *,
    measure: str = "mutual",
    levels: int = 8,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    minimum_overlap: float = 0.5,
    scales: tuple[float, float] = (1.0, 1.0),
    mirrors: bool = False,
    exhaustive: bool = False,
) -> Alignment:
    """Find the rotation and translation, whatever they are, that share most information.

    Args:
        fixed: (height, width) or (channels, height, width), 16 pixels or more a side; the mean of
            the channels is used.
        moving: likewise; size and number of channels may differ.
        measure: ``"mutual"``, ``"normalised"`` or ``"squared_loss"``.
        levels: of intensity, 2 to 64, for the first two.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        minimum_overlap: translations are tried where at least this fraction of the smaller
            mask's pixels overlaps, in (0, 1].
        scales: least and greatest magnification of the moving image, in [0.1, 10]; between them
            it is found too.
        mirrors: also try the moving image mirrored.
        exhaustive: try every angle and translation at full resolution, as published, and not at a
            coarse scale: hundreds of times slower.

    Returns:
        The alignment: ``score`` is the measure over the overlap (mutual information in nats;
        normalised, the entropies' sum over the joint entropy, 1 to 2; squared loss, 0 to 1.5);
        ``score_by_angle`` holds the best at each angle of the coarsest scale. A failure, if no
        overlap has content.

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: as :func:`equicomir.registration.alignment.checked`, but for the number of
            channels; an image is too small, or an option is outside its range.

    Example:
        A picture and its negative, which a correlation would take for opposites.

        >>> from equicomir.geometry import rigid
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
        >>> found = register(image, -np.rot90(image))
        >>> bool(np.allclose(found.moving_to_fixed, rigid(-90, centre=(31.5, 31.5)), atol=0.1))
        True

    Source:
        Öfverstedt, Lindblad, Sladoje 2022, CMIF, arXiv 2106.14699, with the levels weighted
        linearly between neighbours; Studholme, Hill, Hawkes 1999, doi
        10.1016/S0031-3203(98)00091-0, equation 13; Sugiyama 2013, doi 10.3390/e15010080.
    """
    fixed = check_array("fixed", fixed).mean(0)
    moving = check_array("moving", moving).mean(0)
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    if not isinstance(levels, int) or not 2 <= levels <= 64:
        raise ValueError(f"levels: expected a whole number from 2 to 64, got {levels}.")
    if measure not in _MEASURES:
        raise ValueError(f"measure: expected one of {', '.join(_MEASURES)}, got {measure!r}.")
    chosen = _MEASURES[measure](levels)
    views = view(chosen, fixed, fixed_mask), view(chosen, moving, moving_mask)
    found = frame.search(
        chosen,
        *views,
        minimum_overlap=minimum_overlap,
        scales=scales,
        mirrors=mirrors,
        exhaustive=exhaustive,
    )
    # All lags cannot be searched with more levels; where enough pixels fill them, the top can.
    # Small images have other tops so near that a second climb may well end at one of them.
    pixels = min(float(x.mask.sum()) for x in views)
    if found.failure or pixels < _PIXELS_PER_ENTRY * (2 * levels) ** 2:
        return found
    last = _MEASURES[measure](2 * levels)
    top = summit(
        last,
        view(last, fixed, fixed_mask),
        view(last, moving, moving_mask),
        found.moving_to_fixed,
        free_scale=scales[0] < scales[1],
    )
    if top is None:
        return found
    return replace(found, moving_to_fixed=top, score=height(chosen, *views, top))


def mutual(levels: int, *, normalised: bool = False) -> Measure:
    """Mutual information of quantised intensities, in nats.

    Args:
        levels: of intensity. A rank between two levels counts for both, with linear weights, so
            that the measure has a slope; an image of no more intensities than levels is quantised
            exactly, and then it does not matter which level stands for which.
        normalised: divide the sum of the two entropies by the joint one.

    Returns:
        The measure: its channels are the levels, its sums the joint histogram.

    Source:
        Öfverstedt, Lindblad, Sladoje 2022, arXiv 2106.14699; Studholme, Hill, Hawkes 1999, doi
        10.1016/S0031-3203(98)00091-0, equation 13, for the normalised one.
    """
    steps = torch.arange(levels)[:, None, None]

    def memberships(content: Tensor) -> Tensor:
        between = (content.clamp(0, levels - 1) - steps.to(content)).abs()
        weights: Tensor = (1 - between).clamp(min=0)
        return weights

    def score(sums: Tensor) -> Tensor:
        joint = sums[1:].clamp(min=0).unflatten(0, (levels, levels))
        joint = joint / joint.sum((0, 1)).clamp(min=1)
        both = _entropy(joint.flatten(0, 1))
        apart = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
        return apart / both.clamp(min=1e-6) if normalised else apart - both

    own = range(1, levels + 1)
    sums = [[(0, 0)], *([(i, j)] for i in own for j in own)]
    return Measure(
        lambda image, inside: ranked(image, inside, levels),
        memberships,
        sums,
        score,
        coarsest_side=_COARSEST_SIDE,
    )


def _entropy(probabilities: Tensor) -> Tensor:
    """Along the first axis, in nats."""
    # The logarithm's slope at zero is infinite; there is nothing to climb there.
    terms = torch.special.xlogy(probabilities, probabilities.clamp(min=1e-12))
    entropy: Tensor = -terms.sum(0)
    return entropy


def squared_loss() -> Measure:
    """Squared-loss mutual information between a few functions of the rank.

    Half the mean of ``(p(x, y) / (p(x) p(y)) - 1) ** 2`` under ``p(x) p(y)``, with that ratio
    fitted by least squares in products of functions of x and of y: which is half the sum of their
    squared canonical correlations. The functions are ``cos(k pi rank)``, k = 1 to 3; products of
    two of these are again such cosines, so the sums they need are those of single ones.

    Returns:
        The measure: its channels are the cosines up to k = 6.

    Source:
        Sugiyama 2013, doi 10.3390/e15010080.
    """
    count = _FUNCTIONS
    own, all_ = range(1, count + 1), range(1, 2 * count + 1)
    order = math.pi * torch.arange(1, 2 * count + 1, dtype=torch.float64)[:, None, None]
    sums = [
        [(0, 0)],
        *([(k, 0)] for k in all_),
        *([(0, k)] for k in all_),
        *([(i, j)] for i in own for j in own),
    ]

    def cosines(content: Tensor) -> Tensor:
        return torch.cos(content * order.to(content))

    def score(sums: Tensor) -> Tensor:
        means = sums[1:] / sums[0].clamp(min=1)
        f, m = means[: 2 * count], means[2 * count : 4 * count]
        cross = means[4 * count :].unflatten(0, (count, count))
        cross = (cross - f[:count, None] * m[None, :count]).movedim((0, 1), (-2, -1))
        one = torch.linalg.solve(_covariance(f), cross)
        other = torch.linalg.solve(_covariance(m), cross.mT)
        total: Tensor = (one * other.mT).sum((-2, -1)) / 2
        return total

    def content(image: Tensor, inside: Tensor) -> Tensor:
        return ranked(image, inside, _RANKS, last=1.0)

    return Measure(content, cosines, sums, score, coarsest_side=_COARSEST_SIDE)


def _covariance(means: Tensor) -> Tensor:
    """Of the first cosines, from the means of all: (..., functions, functions)."""
    k = torch.arange(_FUNCTIONS)
    whole = torch.cat([torch.ones_like(means[:1]), means])
    product = (whole[(k[:, None] - k).abs()] + whole[k[:, None] + k + 2]) / 2
    covariance = product - means[:_FUNCTIONS, None] * means[None, :_FUNCTIONS]
    ridge = _RIDGE * torch.eye(_FUNCTIONS).to(means)
    return covariance.movedim((0, 1), (-2, -1)) + ridge


def ranked(image: Tensor, inside: Tensor, levels: int, *, last: float | None = None) -> Tensor:
    """The ranks of an image's intensities, from 0 to ``levels - 1``.

    Args:
        image: (1, height, width).
        inside: likewise, one where the image counts.
        levels: no intensity takes up more than one of them, however many pixels have it (a black
            background leaves the tissue most of the levels). No more intensities than levels get
            the whole numbers from 0.
        last: the greatest rank, if not ``levels - 1``.

    Returns:
        Likewise, zero outside.

    Example:
        >>> image = torch.tensor([[[5.0, 5.0, 7.0, 9.0]]])
        >>> ranked(image, torch.ones_like(image), 8)
        tensor([[[0., 0., 1., 2.]]])
    """
    mask = inside[0].bool()
    values, at, counts = np.unique(image[0][mask].numpy(), return_inverse=True, return_counts=True)
    if len(values) <= levels:
        ranks = np.arange(len(values), dtype=np.float64)
    else:
        weights = counts.astype(np.float64)
        for _ in range(8):
            weights = np.minimum(weights, weights.sum() / levels)
        middles = np.cumsum(weights) - weights / 2
        ranks = (middles - middles[0]) / (middles[-1] - middles[0]) * (levels - 1)
    if last is not None:
        ranks *= last / max(1.0, ranks[-1])
    result = torch.zeros_like(image)
    result[0, mask] = torch.from_numpy(ranks[at.reshape(-1)]).to(image)
    return result


_MEASURES: dict[str, Callable[[int], Measure]] = {
    "mutual": mutual,
    "normalised": lambda levels: mutual(levels, normalised=True),
    "squared_loss": lambda _: squared_loss(),
}
