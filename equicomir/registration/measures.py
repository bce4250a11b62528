"""Measures of agreement that follow from sums over the overlap, and the two ways of summing.

Normalised cross-correlation and every kind of mutual information here are the same thing: a few
channels are made of each image, products of a fixed and a moving channel are added up where both
images are, and a score follows from the sums. So the sums are taken here, once for all measures:

- :func:`sums_at_all_lags`, at every whole-pixel translation at once, in Fourier space;
- :func:`sums_at_points`, over points of the fixed image at which the moving one is interpolated.

Since all sums are of the overlap alone, masks need no special case.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.shapes import Array, ArrayMask

_LARGE, _BLOCK = 128, 5  # pixels: of such images the overlap may be summed over such blocks


@dataclass(frozen=True)
class Measure:
    """A measure of agreement that follows from sums over the overlap.

    Attributes:
        content: from an image (channels, height, width) and its mask (1, height, width), that
            which is turned and interpolated, likewise; asked again after it was shrunk.
        channels: from contents (..., channels, height, width) the channels of the sums, likewise.
            What is outside the mask is taken away after it, and the mask put before, as channel 0.
        sums: for each sum, the pairs (fixed channel, moving channel) whose products it adds up;
            the first is the overlap, ``[(0, 0)]``.
        score: from the sums, along the first axis, the score; higher is better.
        coarsest_side: the shorter side at the coarsest scale is at least this, in pixels.
        kept_energy: at the coarsest scale an image still has this fraction of its variance, in
            [0, 1).
        quick: a cheaper measure of the same contents, by which the starts are chosen; itself if
            None.
        rough_overlap: the overlap only decides where there is enough of it and divides by it, so
            that in large images it may be summed over blocks.
        growth: places are compared by score x overlap^growth. By chance alone a correlation of n
            pixels is as large as n^(-1/2): with growth 1/2 a small overlap is no advantage.
    """

    content: Callable[[Tensor, Tensor], Tensor]
    channels: Callable[[Tensor], Tensor]
    sums: Sequence[Sequence[tuple[int, int]]]
    score: Callable[[Tensor], Tensor]
    coarsest_side: int = 32
    kept_energy: float = 0.0
    quick: "Measure | None" = None
    rough_overlap: bool = False
    growth: float = 0.0


_OVERLAP = Measure(lambda x, _: x, lambda x: x[..., :0, :, :], [[(0, 0)]], lambda sums: sums[0])


@dataclass(frozen=True)
class View:
    """One image as a measure looks at it.

    Attributes:
        content: (channels, height, width), float64, zero outside the mask.
        mask: (1, height, width), one inside, zero outside.
    """

    content: Tensor
    mask: Tensor


def view(measure: Measure, image: Array, mask: ArrayMask | None) -> View:
    """An image (channels, height, width) and its mask (None for everywhere), for a measure.

    Args:
        measure: that looks at it.
        image: (channels, height, width).
        mask: boolean (height, width), or None.

    Returns:
        The image as the measure looks at it.

    Example:
        >>> from equicomir.registration.search import correlation
        >>> seen = view(correlation(1), np.arange(16.0).reshape(1, 4, 4), None)
        >>> seen.content.shape, float(seen.mask.sum())
        (torch.Size([1, 4, 4]), 16.0)
    """
    x = torch.from_numpy(np.ascontiguousarray(image))
    inside = torch.ones_like(x[:1]) if mask is None else torch.from_numpy(mask)[None].to(x)
    return View(measure.content(x, inside), inside)


def shrunk(measure: Measure, image: View, factor: int) -> View:
    """The mean over blocks; one counts as inside where at least half of it is.

    The pixel p of it lies at ``factor * p + (factor - 1) / 2`` of the image.

    Args:
        measure: that looks at it.
        image: as it looks at it.
        factor: 1 or more; blocks of so many pixels a side become one.

    Returns:
        The smaller image.

    Example:
        >>> from equicomir.registration.search import correlation
        >>> measure = correlation(1)
        >>> seen = view(measure, np.arange(16.0).reshape(1, 4, 4), None)
        >>> shrunk(measure, seen, 2).content.shape
        torch.Size([1, 2, 2])
    """
    if factor == 1:
        return image
    content, weight = F.avg_pool2d(image.content, factor), F.avg_pool2d(image.mask, factor)
    inside = (weight >= 0.5).to(content)
    content = content / weight.clamp(min=1e-6) * inside
    return View(measure.content(content, inside), inside)


def kept_energy(image: View, factor: int) -> float:
    """The fraction of its variance that an image keeps when it is shrunk, in [0, 1].

    Args:
        image: as a measure looks at it.
        factor: of shrinking.

    Returns:
        1 where blocks are constant.

    Example:
        >>> content = torch.arange(4.0)[None, None].repeat(1, 4, 1)
        >>> kept_energy(View(content, torch.ones(1, 4, 4)), 1)
        1.0
    """
    inside = image.mask.bool()[0]
    centred = image.content - image.content[:, inside].mean(1)[:, None, None]
    before = (centred * image.mask).square().mean()
    after = F.avg_pool2d(centred * image.mask, factor).square().mean()
    return float(after / before.clamp(min=1e-300))


def masked_channels(measure: Measure, content: Tensor, inside: Tensor) -> Tensor:
    """What enters the sums: the mask, and a measure's channels inside it.

    Args:
        measure: of agreement.
        content: (..., channels, height, width).
        inside: (..., 1, height, width), one inside, zero outside.

    Returns:
        (..., 1 + channels of the measure, height, width).

    Example:
        >>> from equicomir.registration.search import correlation
        >>> content, inside = torch.full((1, 2, 2), 3.0), torch.ones(1, 2, 2)
        >>> masked_channels(correlation(1), content, inside)[:, 0, 0].tolist()
        [1.0, 3.0, 9.0]
    """
    return torch.cat([inside, measure.channels(content) * inside], dim=-3)


def sums_at_all_lags(
    measure: Measure,
    fixed: Tensor,
    moving: Tensor,
    lags: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
) -> Tensor:
    """The sums that a measure asks for, at every whole-pixel translation at once.

    Args:
        measure: of agreement.
        fixed: (channels, height, width), as :func:`masked_channels` makes them.
        moving: likewise, (batch, channels, rows, columns); zero beyond.
        lags: how many translations along rows and along columns.
        origin: (row, column) at which the first pixel of ``moving`` lies.

    Returns:
        (sums, batch, *lags): at lag (i, j), of products of the fixed pixel (r, c) and the moving
        one at (r + i, c + j).

    Example:
        >>> ones = torch.ones(1, 2, 2)
        >>> plain = Measure(lambda x, _: x, lambda x: x[:0], [[(0, 0)]], lambda sums: sums[0])
        >>> sums_at_all_lags(plain, ones, F.pad(ones, (1, 1, 1, 1))[None], (3, 3)).round()[0, 0]
        tensor([[1., 2., 1.],
                [2., 4., 2.],
                [1., 2., 1.]])

    Source:
        Padfield 2012, doi 10.1109/TIP.2011.2181402, section II; Öfverstedt, Lindblad, Sladoje
        2022, arXiv 2106.14699, section III.
    """
    sides = (moving.shape[-2], moving.shape[-1])
    size = _fast_size(fixed, sides, lags, origin)
    spectra = torch.fft.rfft2(moving, s=size).movedim(1, 0)
    return _sums(measure, _moved_back(fixed, size, origin), spectra, size, lags)


def sums_at_half_turns(
    measure: Measure,
    fixed: Tensor,
    sides: tuple[int, int],
    lags: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The sums of moving images as they are, and turned by half a turn about their middle.

    Args:
        measure: of agreement.
        fixed: as in :func:`sums_at_all_lags`, as are the others.
        sides: height and width of the moving images.
        lags: likewise.
        origin: likewise; turned, the first pixel of a moving image lies at the same place.

    Returns:
        A function from moving images (batch, channels, *sides) to both sums, (sums, batch, *lags)
        each. The Fourier transforms of the fixed image are taken once for all of them, those of
        the moving ones once for both.

    Example:
        >>> plain = Measure(lambda x, _: x, lambda x: x[:0], [[(0, 0)]], lambda sums: sums[0])
        >>> fixed, moving = torch.rand(1, 4, 4), torch.rand(1, 1, 6, 5)
        >>> straight, turned = sums_at_half_turns(plain, fixed, (6, 5), (3, 2))(moving)
        >>> again = sums_at_all_lags(plain, fixed, moving.rot90(2, (2, 3)), (3, 2))
        >>> torch.allclose(turned, again, atol=1e-5)
        True
    """
    # The moving image turned against the fixed one is the fixed one turned against the moving
    # one, seen from the other end.
    of_each = zip(lags, origin, fixed.shape[-2:], sides, strict=True)
    rows, columns = (lag - 1 - start + f - m for lag, start, f, m in of_each)
    size = max(_fast_size(fixed, sides, lags, start) for start in (origin, (rows, columns)))
    straight = _moved_back(fixed, size, origin)
    behind = _moved_back(fixed.flip(-2, -1), size, (rows, columns))
    # Blocks may do for the overlap: then the spectra of the masks are not needed.
    rough = is_rough(measure, fixed)
    by_blocks = _rough_overlaps(fixed, sides, lags, origin) if rough else None

    def both(moving: Tensor) -> tuple[Tensor, Tensor]:
        spectra = torch.fft.rfft2(moving[:, 1:] if rough else moving, s=size).movedim(1, 0)
        overlaps = by_blocks(moving) if by_blocks else (None, None)
        one = _sums(measure, straight, spectra, size, lags, overlaps[0])
        from_behind = None if overlaps[1] is None else overlaps[1].flip(-2, -1)
        other = _sums(measure, behind, spectra, size, lags, from_behind)
        return one, other.flip(-2, -1)

    return both


def is_rough(measure: Measure, fixed: Tensor) -> bool:
    """Whether the overlap with a fixed image is summed over blocks.

    Example:
        >>> from equicomir.registration.search import correlation
        >>> is_rough(correlation(1), torch.ones(2, 9, 9))
        False
    """
    return measure.rough_overlap and min(fixed.shape[-2:]) >= _LARGE


def _fast_size(
    fixed: Tensor, sides: tuple[int, int], lags: tuple[int, int], origin: tuple[int, int]
) -> tuple[int, int]:
    """Of Fourier transforms that go round without reaching the lags that are asked for."""
    rows, columns = (
        int(scipy.fft.next_fast_len(max(f, m, f + lag - 1 - start, m + start, lag), real=True))
        for f, m, lag, start in zip(fixed.shape[-2:], sides, lags, origin, strict=True)
    )
    return rows, columns


def _moved_back(fixed: Tensor, size: tuple[int, int], origin: tuple[int, int]) -> Tensor:
    """The conjugate spectra of the fixed image, so moved that the lags asked for come first."""
    rows, columns = (n - side for n, side in zip(size, fixed.shape[-2:], strict=True))
    padded = F.pad(fixed, (0, columns, 0, rows))
    moved = padded.roll((-origin[0], -origin[1]), dims=(-2, -1))
    spectra: Tensor = torch.fft.rfft2(moved).conj().resolve_conj()
    return spectra


def _sums(
    measure: Measure,
    fixed: Tensor,
    moving: Tensor,
    size: tuple[int, int],
    lags: tuple[int, int],
    overlap: Tensor | None = None,
) -> Tensor:
    """From spectra of (channels, ...) and (channels, batch, ...); without masks, if it is given."""
    total = fixed.real.new_empty(len(measure.sums), moving.shape[1], *lags)
    first = 0
    if overlap is not None:
        total[0], first = overlap, 1
    for number, pairs in enumerate(measure.sums[first:], start=first):
        spectrum = fixed[pairs[0][0]] * moving[pairs[0][1] - first]
        for i, j in pairs[1:]:
            spectrum += fixed[i] * moving[j - first]
        total[number] = torch.fft.irfft2(spectrum, s=size)[..., : lags[0], : lags[1]]
    return total


def _rough_overlaps(
    fixed: Tensor, sides: tuple[int, int], lags: tuple[int, int], origin: tuple[int, int]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """As :func:`sums_at_half_turns`, of masks alone, over blocks and interpolated between lags."""
    n = _BLOCK
    # As many blocks as an even margin leaves room for: half a turn of the image is then half a
    # turn of its blocks, as the width of a block is odd.
    blocks = [-(-side // n) for side in sides]
    blocks = [count + (count - side) % 2 for count, side in zip(blocks, sides, strict=True)]
    rows, columns = ((count * n - side) // 2 for count, side in zip(blocks, sides, strict=True))
    starts = [(margin - o) // n for margin, o in zip((rows, columns), origin, strict=True)]
    first = [
        margin - o - n * start
        for margin, o, start in zip((rows, columns), origin, starts, strict=True)
    ]
    counts = [1 - (1 - lag - f) // n for lag, f in zip(lags, first, strict=True)]
    height, width = (-side % n for side in fixed.shape[-2:])
    of_blocks = sums_at_half_turns(
        _OVERLAP,
        F.avg_pool2d(F.pad(fixed[:1], (0, width, 0, height)), n) * n * n,
        (blocks[0], blocks[1]),
        (counts[0], counts[1]),
        (-starts[0], -starts[1]),
    )

    def between(sums: Tensor) -> Tensor:
        size = [n * (count - 1) + 1 for count in counts]
        fine: Tensor = F.interpolate(sums, size=size, mode="bilinear", align_corners=True)[0]
        return fine[:, first[0] : first[0] + lags[0], first[1] : first[1] + lags[1]]

    def both(moving: Tensor) -> tuple[Tensor, Tensor]:
        means = F.avg_pool2d(F.pad(moving[:, :1], (columns, columns, rows, rows)), n)
        straight, turned = of_blocks(means)
        return between(straight), between(turned)

    return both


def sums_at_points(measure: Measure, fixed: Tensor, moving: Tensor) -> Tensor:
    """The same sums over points.

    Args:
        measure: of agreement.
        fixed: (channels, 1, points), as :func:`masked_channels` makes them.
        moving: likewise, at the same points.

    Returns:
        (sums,).

    Example:
        >>> from equicomir.registration.search import correlation
        >>> points = torch.tensor([[[1.0, 1.0]], [[2.0, 3.0]], [[4.0, 9.0]]])
        >>> sums_at_points(correlation(1), points, points)[:2].tolist()
        [2.0, 13.0]
    """
    products = fixed[:, 0] @ moving[:, 0].T
    pairs = [(n, i, j) for n, added in enumerate(measure.sums) for i, j in added]
    which, i, j = torch.tensor(pairs).T
    return products.new_zeros(len(measure.sums)).index_add(0, which, products[i, j])
