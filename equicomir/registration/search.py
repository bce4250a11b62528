"""Global search: all rotations by all translations, by masked normalised cross-correlation.

No initial guess and no range of angles. Because the representation is equivariant it is turned
here, not encoded again. The search itself is that of :mod:`equicomir.registration.frame`; here is
what it maximises.
"""

import torch
from torch import Tensor

from equicomir.registration import frame
from equicomir.registration.alignment import Alignment, checked
from equicomir.registration.measures import Measure, view
from equicomir.shapes import Array, ArrayMask

_LEAST_ENERGY = 1e-6  # of an overlap's pixel, to an image's: with less there is but a constant


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    minimum_overlap: float = 0.5,
    scales: tuple[float, float] = (1.0, 1.0),
    mirrors: bool = False,
) -> Alignment:
    """Find the rotation and translation, whatever they are, that align two representations.

    Of places with different overlaps that one is taken whose correlation times the root of the
    overlap is greatest: by chance alone, few pixels agree better than many.

    Args:
        fixed: (height, width) or (channels, height, width), 16 pixels or more a side.
        moving: likewise, with as many channels; its size may differ.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        minimum_overlap: translations are tried where at least this fraction of the smaller
            mask's pixels overlaps, in (0, 1].
        scales: least and greatest magnification of the moving image, in [0.1, 10]; between them
            it is found too.
        mirrors: also try the moving image mirrored.

    Returns:
        The alignment: ``score`` is the normalised cross-correlation over the overlap, in
        [-1, 1], averaged over channels by energy; ``score_by_angle`` holds the best correlation
        at each angle of the coarsest scale, with the means and energies of the whole images,
        times the root of the overlap (a part of the smaller image). A failure, if no overlap
        has content.

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: as :func:`equicomir.registration.alignment.checked`, an image is too small, or
            an option is outside its range.

    Example:
        >>> import numpy as np
        >>> from equicomir.geometry import rigid
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
        >>> found = register(image, np.rot90(image))
        >>> bool(np.allclose(found.moving_to_fixed, rigid(-90, centre=(31.5, 31.5)), atol=0.05))
        True

    Source:
        Padfield, Masked object registration in the Fourier domain, IEEE TIP 2012,
        doi 10.1109/TIP.2011.2181402, equation 12; summed over channels.
    """
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    measure = correlation(len(fixed))
    return frame.search(
        measure,
        view(measure, fixed, fixed_mask),
        view(measure, moving, moving_mask),
        minimum_overlap=minimum_overlap,
        scales=scales,
        mirrors=mirrors,
    )


def correlation(channels: int) -> Measure:
    """Normalised cross-correlation over the overlap, channels averaged by energy.

    Args:
        channels: of both images.

    Returns:
        The measure: its channels are the image's and their squares' sum.

    Source:
        Padfield 2012, doi 10.1109/TIP.2011.2181402, equation 12; summed over channels.
    """
    own = range(1, channels + 1)
    sums = [
        [(0, 0)],
        [(i, i) for i in own],
        [(channels + 1, 0)],
        [(0, channels + 1)],
        *([(i, 0)] for i in own),
        *([(0, i)] for i in own),
    ]

    def with_energy(content: Tensor) -> Tensor:
        return torch.cat([content, content.square().sum(-3, keepdim=True)], dim=-3)

    def score(sums: Tensor) -> Tensor:
        overlap, means = sums[0].clamp(min=1), sums[4:]
        f, m = means[:channels], means[channels:]
        cross = sums[1] - (f * m).sum(0) / overlap
        energy = (sums[2] - f.square().sum(0) / overlap).clamp(min=0)
        moving_energy = (sums[3] - m.square().sum(0) / overlap).clamp(min=0)
        # Where there is nothing but a constant, the quotient would be noise.
        least = _LEAST_ENERGY * channels * overlap
        score: Tensor = cross / (energy.clamp(min=least) * moving_energy.clamp(min=least)).sqrt()
        nothing = (energy <= least) | (moving_energy <= least)
        return score.clamp(-1, 1).masked_fill(nothing, -torch.inf)

    return Measure(
        standardised,
        with_energy,
        sums,
        score,
        coarsest_side=32,
        kept_energy=0.8,
        quick=_covariance(channels),
        growth=0.5,
    )


def _covariance(channels: int) -> Measure:
    """The correlation, with the means and energies of the whole images in place of the overlap's.

    It needs two sums for each channel's six, and only chooses where to climb from.
    """
    sums = [[(0, 0)], [(i, i) for i in range(1, channels + 1)]]

    def score(sums: Tensor) -> Tensor:
        quotient: Tensor = sums[1] / (sums[0].clamp(min=1) * channels)
        return quotient

    return Measure(
        standardised, lambda content: content, sums, score, rough_overlap=True, growth=0.5
    )


def standardised(image: Tensor, inside: Tensor) -> Tensor:
    """Each channel without its mean, all over their common energy; zero outside the mask.

    Args:
        image: (channels, height, width).
        inside: (1, height, width), one inside, zero outside.

    Returns:
        (channels, height, width).

    Example:
        >>> whole = torch.ones(1, 1, 2)
        >>> standardised(torch.tensor([[[3.0, 5.0]]]), whole).tolist()
        [[[-1.0, 1.0]]]
    """
    mean = (image * inside).sum((1, 2), keepdim=True) / inside.sum()
    centred = (image - mean) * inside
    return centred / centred.square().sum().div(inside.sum() * len(image)).sqrt().clamp(min=1e-300)
