"""Global search: all rotations by all translations, by masked normalised cross-correlation.

No initial guess and no range of angles. Because the representation is equivariant it is turned
here, not encoded again. Coarse to fine: at the coarsest scale every angle of the circle is tried
against every translation at once, in Fourier space; a few distinct best ones are followed to the
full resolution; parabolas through the last scores give the fractions of a degree and a pixel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import scipy.fft
import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.geometry import image_centre, rigid, rotations, warp
from equicomir.registration.alignment import Alignment, checked
from equicomir.shapes import Array, ArrayMask

_COARSEST_PIXELS = 32  # the shorter side at the coarsest scale is at least this
_KEPT_ENERGY = 0.8  # of both images, at the coarsest scale
_CANDIDATES = 10  # distinct best angles followed from scale to scale
_ANGLES_AT_ONCE = 16  # bounds the memory of a batch of Fourier transforms
_NEAR = 4  # pixels around the translation found at the next coarser scale
_FINEST_STEP = 0.4  # of a pixel at the rim: the angle step at which the last parabola is fitted


@dataclass(frozen=True)
class _Scale:
    """Both images at one scale."""

    fixed: Tensor  # (channels, height, width), mean taken away inside the mask, zero outside
    fixed_mask: Tensor  # (1, height, width)
    moving: Tensor  # (channels, height, width), likewise
    moving_mask: Tensor  # (1, height, width)


@dataclass(frozen=True)
class _Spectra:
    """The fixed image in Fourier space, for translations of at most ``margin`` pixels."""

    margin: tuple[int, int]  # (rows, columns)
    fft_size: tuple[int, int]
    fixed: Tensor  # (channels, height, width / 2 + 1), conjugate, as the next two
    fixed_mask: Tensor
    fixed_squared: Tensor


@dataclass(frozen=True)
class _Peak:
    """The best translation at one angle."""

    degrees: float
    score: float
    shift: tuple[float, float]  # (rows, columns) at this scale, with the parabola's fraction


def register(
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    minimum_overlap: float = 0.5,
) -> Alignment:
    """Find the rotation and translation, whatever they are, that align two representations.

    Args:
        fixed: (height, width) or (channels, height, width).
        moving: likewise, with as many channels; its size may differ.
        fixed_mask: boolean (height, width), true where ``fixed`` is defined; None for everywhere.
        moving_mask: likewise for ``moving``.
        minimum_overlap: translations are tried where at least this fraction of the smaller
            mask's pixels overlaps, in (0, 1].

    Returns:
        The alignment: ``score`` is the normalised cross-correlation over the overlap, in
        [-1, 1], averaged over channels by energy; ``score_by_angle`` holds the best correlation
        at each angle of the coarsest scale (with the means and energies of the whole images).

    Raises:
        TypeError: not arrays of real numbers.
        ValueError: as :func:`equicomir.registration.alignment.checked`, or ``minimum_overlap``
            is outside its range.

    Example:
        >>> import numpy as np
        >>> image = np.random.default_rng(0).normal(size=(8, 8)).repeat(8, 0).repeat(8, 1)
        >>> found = register(image, np.rot90(image))
        >>> bool(np.allclose(found.moving_to_fixed, rigid(-90, centre=(31.5, 31.5)), atol=0.05))
        True

    Source:
        Padfield, Masked object registration in the Fourier domain, IEEE TIP 2012,
        doi 10.1109/TIP.2011.2181402, equation 12; summed over channels.
    """
    fixed, moving, fixed_mask, moving_mask = checked(fixed, moving, fixed_mask, moving_mask)
    if not 0 < minimum_overlap <= 1:
        raise ValueError(f"minimum_overlap: expected a value in (0, 1], got {minimum_overlap}.")
    shorter = min(*fixed.shape[1:], *moving.shape[1:])
    factor = _coarsest_factor(fixed, moving, fixed_mask, moving_mask)
    scale = _at_scale(fixed, moving, fixed_mask, moving_mask, factor)
    count = 2 * math.ceil(math.pi * shorter / factor / 4)  # a step moves the rim by two pixels
    step = 360 / count
    peaks = _all_shifts(scale, [i * step for i in range(count)], minimum_overlap)
    score_by_angle = [(peak.degrees, peak.score) for peak in peaks]
    candidates = _distinct(peaks, 1.5 * step)
    while factor > 1:
        factor, step = factor // 2, step / 2
        scale = _at_scale(fixed, moving, fixed_mask, moving_mask, factor)
        doubled = [replace(c, shift=(2 * c.shift[0], 2 * c.shift[1])) for c in candidates]
        followed = [_best_around(scale, c, step, minimum_overlap) for c in doubled]
        followed.sort(key=lambda peak: -peak.score)
        candidates = followed[: max(2, len(followed) // 2)]
    best = candidates[0]
    while math.radians(step) * shorter / 2 > _FINEST_STEP:
        step = step / 2
        best = _best_around(scale, best, step, minimum_overlap)
    around = _near_shifts(scale, _fan(best, step), best.shift, minimum_overlap)
    degrees = best.degrees + step * _vertex(*(peak.score for peak in around))
    (last,) = _near_shifts(scale, [degrees], best.shift, minimum_overlap)
    if not math.isfinite(last.score):
        raise ValueError(
            "fixed, moving: expected content in an overlap of at least "
            f"{minimum_overlap:g} of the smaller mask, found none; allow a smaller overlap."
        )
    matrix = rigid(last.degrees, last.shift, centre=image_centre(*moving.shape[1:]))
    return Alignment(matrix, last.score, score_by_angle)


def _coarsest_factor(
    fixed: Array, moving: Array, fixed_mask: ArrayMask | None, moving_mask: ArrayMask | None
) -> int:
    """How far both images can be shrunk with their content still there.

    A representation learned behind a high-pass holds nothing but detail: shrunk too far, it is
    gone, and the search would follow noise.
    """
    factor, shorter = 1, min(*fixed.shape[1:], *moving.shape[1:])
    while shorter // (2 * factor) >= _COARSEST_PIXELS:
        scale = _at_scale(fixed, moving, fixed_mask, moving_mask, 2 * factor)
        # Every image has unit energy before it is shrunk.
        kept = (float(x.square().mean()) for x in (scale.fixed, scale.moving))
        if min(kept) < _KEPT_ENERGY:
            break
        factor *= 2
    return factor


def _fan(peak: _Peak, step: float) -> list[float]:
    """The angle of a peak and its two neighbours."""
    return [peak.degrees - step, peak.degrees, peak.degrees + step]


def _best_around(scale: _Scale, start: _Peak, step: float, minimum_overlap: float) -> _Peak:
    """The best of three angles, each at its best translation near the start's."""
    around = _near_shifts(scale, _fan(start, step), start.shift, minimum_overlap)
    return max(around, key=lambda peak: peak.score)


def _at_scale(
    fixed: Array,
    moving: Array,
    fixed_mask: ArrayMask | None,
    moving_mask: ArrayMask | None,
    factor: int,
) -> _Scale:
    """Both images shrunk by a factor."""
    return _Scale(*_shrink(fixed, fixed_mask, factor), *_shrink(moving, moving_mask, factor))


def _shrink(image: Array, mask: ArrayMask | None, factor: int) -> tuple[Tensor, Tensor]:
    """Mean over blocks inside the mask; a block counts as inside where at least half of it is."""
    x = torch.from_numpy(image).float()
    inside = torch.ones_like(x[:1]) if mask is None else torch.from_numpy(mask)[None].to(x)
    mean = (x * inside).sum((1, 2), keepdim=True) / inside.sum()
    x = (x - mean) * inside
    x = x / x.square().mean().sqrt()
    if factor > 1:
        x, weight = F.avg_pool2d(x, factor), F.avg_pool2d(inside, factor)
        inside = (weight >= 0.5).to(x)
        x = x / weight.clamp(min=1e-6) * inside
    return x, inside


def _all_shifts(scale: _Scale, degrees: list[float], minimum_overlap: float) -> list[_Peak]:
    """The best of all translations, at each angle."""
    height, width = scale.fixed.shape[-2:]
    diagonal = math.hypot(*scale.moving.shape[-2:])
    margin = (math.ceil((height + diagonal) / 2), math.ceil((width + diagonal) / 2))
    shift = tuple(
        (f - m) / 2 for f, m in zip(scale.fixed.shape[-2:], scale.moving.shape[-2:], strict=True)
    )
    # Centre on centre; the overlap asked for bounds how far from there a translation can lie.
    least = minimum_overlap * min(float(scale.fixed_mask.sum()), float(scale.moving_mask.sum()))
    rows = min(margin[0], math.ceil(margin[0] - least / min(width, diagonal)))
    columns = min(margin[1], math.ceil(margin[1] - least / min(height, diagonal)))
    spectra = _transform_fixed(scale, (rows, columns))
    peaks = []
    for start in range(0, len(degrees), _ANGLES_AT_ONCE):
        some = degrees[start : start + _ANGLES_AT_ONCE]
        start_shift = (shift[0], shift[1])
        peaks += _peaks(scale, spectra, some, start_shift, minimum_overlap, _quick_scores)
    return peaks


def _near_shifts(
    scale: _Scale, degrees: list[float], shift: tuple[float, float], minimum_overlap: float
) -> list[_Peak]:
    """The best translation within a few pixels of ``shift``, at each angle."""
    spectra = _transform_fixed(scale, (_NEAR, _NEAR))
    return _peaks(scale, spectra, degrees, shift, minimum_overlap, _exact_scores)


def _transform_fixed(scale: _Scale, margin: tuple[int, int]) -> _Spectra:
    """Fourier transforms of what stays the same for every angle."""
    rows, columns = (
        int(scipy.fft.next_fast_len(n + 2 * m, real=True))
        for n, m in zip(scale.fixed.shape[-2:], margin, strict=True)
    )
    spectra = (
        torch.fft.rfft2(x, s=(rows, columns)).conj()
        for x in (scale.fixed, scale.fixed_mask, scale.fixed.square())
    )
    return _Spectra(margin, (rows, columns), *spectra)


def _peaks(
    scale: _Scale,
    spectra: _Spectra,
    degrees: list[float],
    shift: tuple[float, float],
    minimum_overlap: float,
    scores: Callable[[_Spectra, Tensor, Tensor], tuple[Tensor, Tensor]],
) -> list[_Peak]:
    """At each angle, the best translation within the margin of ``shift``."""
    base = (round(shift[0]), round(shift[1]))
    score, overlap = scores(spectra, *_on_canvas(scale, spectra.margin, degrees, base))
    least = minimum_overlap * min(float(scale.fixed_mask.sum()), float(scale.moving_mask.sum()))
    surfaces = score.masked_fill(overlap < least - 0.5, -torch.inf)  # counts, but for rounding
    peaks = []
    for angle, surface in zip(degrees, surfaces, strict=True):
        row, column = divmod(int(surface.argmax()), surface.shape[1])
        rows = row + _fraction(surface[:, column], row)
        columns = column + _fraction(surface[row], column)
        # Index i is the lag i of the canvas, on which the image lies ``margin`` further.
        found = (base[0] + spectra.margin[0] - rows, base[1] + spectra.margin[1] - columns)
        peaks.append(_Peak(angle, float(surface[row, column]), found))
    return peaks


def _fraction(along: Tensor, at: int) -> float:
    """The parabola's fraction of a pixel at the peak of a line of scores."""
    if not 0 < at < len(along) - 1:
        return 0.0
    return _vertex(*(float(value) for value in along[at - 1 : at + 2]))


def _vertex(before: float, at: float, after: float) -> float:
    """Where the parabola through three equidistant values is highest, in steps, in [-0.5, 0.5]."""
    bend = before - 2 * at + after
    if not math.isfinite(bend) or bend >= 0:
        return 0.0
    return min(0.5, max(-0.5, 0.5 * (before - after) / bend))


def _on_canvas(
    scale: _Scale, margin: tuple[int, int], degrees: list[float], base: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The moving image and its mask, turned and moved by ``base``, one an angle.

    The canvas exceeds the fixed image by the margin on each side, so that no lag of interest
    wraps around.
    """
    height, width = scale.fixed.shape[-2:]
    matrices = rotations(torch.tensor(degrees, dtype=torch.float64), *scale.moving.shape[-2:])
    matrices[:, :2, 2] += torch.tensor([base[0] + margin[0], base[1] + margin[1]])
    both = torch.cat([scale.moving, scale.moving_mask]).expand(len(degrees), -1, -1, -1)
    size = (height + 2 * margin[0], width + 2 * margin[1])
    canvas = warp(both, torch.linalg.inv(matrices), size=size)
    weight = canvas[:, -1:]
    inside = (weight > 0.5).to(canvas)
    # Near its border the turned image is mixed with the zeros outside; that is undone.
    return canvas[:, :-1] / weight.clamp(min=0.5) * inside, inside


def _lags(spectra: _Spectra, spectrum: Tensor) -> Tensor:
    """Back from Fourier space, the lags within the margin."""
    rows, columns = spectra.margin
    full: Tensor = torch.fft.irfft2(spectrum, s=spectra.fft_size)
    return full[..., : 2 * rows + 1, : 2 * columns + 1]


def _quick_scores(spectra: _Spectra, moving: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation with the means and energies of the whole images, and the overlap.

    Less than half the Fourier transforms of the exact scores; it only chooses candidates.
    """
    mask_f = torch.fft.rfft2(inside, s=spectra.fft_size)
    moving_f = torch.fft.rfft2(moving, s=spectra.fft_size)
    overlap = _lags(spectra, spectra.fixed_mask * mask_f).clamp(min=1)[:, 0]
    cross = _lags(spectra, (spectra.fixed * moving_f).sum(1))
    return cross / overlap / moving.shape[1], overlap


def _exact_scores(spectra: _Spectra, moving: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Masked normalised cross-correlation of the overlap, and the overlap, for every lag."""
    s = spectra.fft_size
    mask_f, moving_f = torch.fft.rfft2(inside, s=s), torch.fft.rfft2(moving, s=s)
    squared_f = torch.fft.rfft2(moving.square(), s=s)

    def lags(spectrum: Tensor) -> Tensor:
        return _lags(spectra, spectrum)

    overlap = lags(spectra.fixed_mask * mask_f).clamp(min=1)
    fixed_sum, moving_sum = lags(spectra.fixed * mask_f), lags(spectra.fixed_mask * moving_f)
    cross = lags(spectra.fixed * moving_f) - fixed_sum * moving_sum / overlap
    fixed_energy = lags(spectra.fixed_squared * mask_f) - fixed_sum.square() / overlap
    moving_energy = lags(spectra.fixed_mask * squared_f) - moving_sum.square() / overlap
    product = fixed_energy.sum(1).clamp(min=0) * moving_energy.sum(1).clamp(min=0)
    # Where there is nothing but a constant, the quotient would be noise.
    product = product.clamp(min=1e-6 * product.amax((1, 2), keepdim=True))
    return (cross.sum(1) / product.sqrt()).clamp(-1, 1), overlap[:, 0]


def _distinct(peaks: list[_Peak], apart_degrees: float) -> list[_Peak]:
    """The best peaks no two of which are closer than ``apart_degrees``."""
    kept: list[_Peak] = []
    for peak in sorted(peaks, key=lambda p: -p.score):
        gaps = (abs((peak.degrees - k.degrees + 180) % 360 - 180) for k in kept)
        if all(gap >= apart_degrees for gap in gaps):
            kept.append(peak)
        if len(kept) == _CANDIDATES:
            break
    return kept
