"""How much fine structure survives in a representation: detail that is shared, not just sharp.

Noise is as sharp as tissue. So nothing here is the energy of one image: each measure compares two
aligned images, of one representation each, or a representation and the image it was made of, and
noise of its own scores nothing. Where chance alone scores, the score of chance comes with it.
Detail that does not help alignment is decoration: show it beside the success of registration.

Only the valid region counts: no border is continued, and no pixel outside the mask, not even one
that is not finite, changes a number.
"""

import numpy as np
import torch
from scipy import ndimage
from skimage.feature import canny
from torch import Tensor

from equicomir.differentials import GRADIENT_REACH, gradient
from equicomir.evaluation.aligned import Masks, aligned, check_channels, eroded
from equicomir.evaluation.coherence import SEGMENT, coherence
from equicomir.shapes import ArrayMask, Image, Images

__all__ = ["coherence", "detail", "edge_f1", "gradient_correlation"]

#: Smoothing of Canny's edges: standard deviation, in pixels.
EDGE_SIGMA = 1.0
#: Edges begin at the upper and go on to the lower of these quantiles of the gradient's magnitude.
EDGE_QUANTILES = (0.8, 0.9)

#: Edge pixels, those at most one pixel from them, both (batch, channels, height, width), and the
#: standard deviation of each channel.
Edges = tuple[ArrayMask, ArrayMask, Tensor]

_CROSS = ndimage.generate_binary_structure(2, 1)[None, None]  # at most one pixel away
_EDGE_MARGIN = 3  # pixels from the border where edges count; one less where they are looked for
_ROUNDING = 1e-6  # of the greatest value: what is below it is no structure


def gradient_correlation(
    first: Images | Image, second: Images | Image, mask: Masks | None = None
) -> float:
    """Whether two images are steep in the same places: correlation of their gradients' magnitudes.

    The magnitude is the root of the squares summed over directions and channels, so the numbers of
    channels need not agree. Gain of either sign, offset, quarter turns and mirrors change nothing.

    Args:
        first: shape (batch, channels, height, width) or (channels, height, width).
        second: likewise, with any number of channels.
        mask: as in :func:`coherence`.

    Returns:
        Pearson's coefficient over the valid pixels whose neighbours are valid, in [-1, 1], mean
        over the images that have such; 0 where one is flat. Independent images give 0.

    Raises:
        TypeError, ValueError: not such arguments, or no such pixel.

    Example:
        >>> x = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> round(gradient_correlation(x, 3 - 2 * x), 6)
        1.0
    """
    (first, second), inside = aligned(mask, first=first, second=second)
    return _correlation(_steepness(first), _steepness(second), eroded(inside, GRADIENT_REACH))


def edge_f1(
    first: Images | Image, second: Images | Image, mask: Masks | None = None
) -> tuple[float, float]:
    """Whether two images have their edges in the same places, within one pixel.

    Canny's edges at sigma = 1 pixel. The thresholds are quantiles, 0.8 and 0.9, of the gradient's
    magnitude in the valid region of each image: so gain and offset change nothing. F1 is the
    harmonic mean of the part of the first's edge pixels with one of the second's at most one pixel
    away (itself or its four neighbours), and of the reverse; both over all images of the batch.

    Edges count 3 pixels or more inside the valid region, where the smoothing no longer feels its
    border. Quantiles find edges in noise too, and one pixel is much where they are dense: what
    as many in random places would score, 0.2 to 0.4, is given beside it.

    Args:
        first: shape (batch, channels, height, width) or (channels, height, width).
        second: of that shape, or one of the two has a single channel, as in :func:`coherence`.
            Channels weigh as their variance, geometric mean of the two.
        mask: as in :func:`coherence`.

    Returns:
        F1, in [0, 1], and F1 of chance. Where one has no edges at all, F1 is 0.

    Raises:
        TypeError, ValueError: not such arguments, or a valid region that has no such inside.

    Example:
        >>> x = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> edge_f1(x, 3 - 2 * x)[0]
        1.0

    Source:
        Canny 1986, doi 10.1109/TPAMI.1986.4767851.
    """
    (first, second), inside = aligned(mask, first=first, second=second)
    check_channels(first, second)
    deep = eroded(inside, _EDGE_MARGIN)
    return _agreement(_edges(first, inside), _edges(second, inside), deep)


def detail(
    first: Images | Image,
    second: Images | Image,
    first_image: Images | Image,
    second_image: Images | Image,
    mask: Masks | None = None,
    *,
    segment_pixels: int = SEGMENT,
) -> dict[str, float]:
    """All measures: between two aligned representations, and of each with the image it shows.

    An image of several channels is compared as the mean of its channels, each standardised over
    the valid region of the batch: the channels of an image are not those of a representation.

    Args:
        first: representation of the one modality, (batch, channels, height, width) or without
            batch.
        second: of the other, of as many channels.
        first_image: what the first was made of; any number of channels.
        second_image: likewise.
        mask: as in :func:`coherence`: where all four are valid.
        segment_pixels: as in :func:`coherence`.

    Returns:
        By name: ``coherence``, ``gradient_correlation``, ``edge_f1`` and ``edge_f1_by_chance``,
        each followed by ``_between`` (the representations), ``_first`` or ``_second`` (one
        representation with its image); and ``coherence_floor``, the same for the three.

    Raises:
        TypeError, ValueError: as the measures.

    Example:
        >>> x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> found = detail(x, 2 * x, 1 - x, x.repeat(1, 3, 1, 1))
        >>> {round(found[name], 6) for name in found if "chance" not in name} - {1.0}
        {0.132041}
    """
    (first, second, *images), inside = aligned(
        mask, first=first, second=second, first_image=first_image, second_image=second_image
    )
    check_channels(first, second)
    all_four = [first, second, *(_one_channel(image, inside) for image in images)]
    smooth, deep = eroded(inside, GRADIENT_REACH), eroded(inside, _EDGE_MARGIN)
    steep = [_steepness(x) for x in all_four]
    edges = [_edges(x, inside) for x in all_four]
    found: dict[str, float] = {}
    for name, one, other in (("between", 0, 1), ("first", 0, 2), ("second", 1, 3)):
        value, floor = coherence(
            all_four[one], all_four[other], inside, segment_pixels=segment_pixels
        )
        f1, chance = _agreement(edges[one], edges[other], deep)
        found[f"coherence_{name}"] = value
        found[f"gradient_correlation_{name}"] = _correlation(steep[one], steep[other], smooth)
        found[f"edge_f1_{name}"] = f1
        found[f"edge_f1_by_chance_{name}"] = chance
    return found | {"coherence_floor": floor}


def _one_channel(images: Images, inside: Tensor) -> Images:
    """The mean of the channels, each standardised over the batch; a single one as it is."""
    if images.shape[1] == 1:
        return images
    valid = images.movedim(1, -1)[inside]
    spread = valid.std(0, correction=0)
    factors = torch.where(spread > _ROUNDING * valid.abs().amax(0), 1 / spread, 0)
    grey = (images * factors[:, None, None]).mean(1, keepdim=True)
    return grey


def _steepness(images: Images) -> Tensor:
    return gradient(images).square().sum(1).sqrt()


def _correlation(first: Tensor, second: Tensor, places: Tensor) -> float:
    of_images = []
    for place, *pair in zip(places, first, second, strict=True):
        if place.any():
            one, other = (values[place] - values[place].mean() for values in pair)
            norms = float(one.norm() * other.norm())
            of_images.append(float(one @ other) / norms if norms else 0.0)
    return float(np.clip(np.mean(of_images), -1, 1))


def _edges(images: Images, inside: Tensor) -> Edges:
    """Canny's edges of each channel of each image by itself."""
    found = np.zeros(images.shape, dtype=np.bool_)
    places = eroded(inside, _EDGE_MARGIN - 1).numpy()
    for index, (mask, place) in enumerate(zip(inside.numpy(), places, strict=True)):
        if not place.any():
            continue
        weight = ndimage.gaussian_filter(mask.astype(np.float64), EDGE_SIGMA, mode="constant")
        for channel, image in enumerate(images[index].numpy()):
            level = np.where(mask, image - image[mask].mean(), 0)
            smooth = ndimage.gaussian_filter(level, EDGE_SIGMA, mode="constant")
            smooth = np.where(mask, smooth, 0) / np.where(mask, weight, 1)
            steep = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1))
            # canny's own quantiles would count the pixels that are masked.
            least = _ROUNDING * np.abs(image).max()
            low, high = np.maximum(np.quantile(steep[place], EDGE_QUANTILES), least)
            edges = canny(smooth, 0, low_threshold=low, high_threshold=high, mask=mask)
            found[index, channel] = edges & place
    spread = images.movedim(1, -1)[inside].std(0, correction=0)
    return found, ndimage.binary_dilation(found, _CROSS), spread


def _agreement(first: Edges, second: Edges, counted: Tensor) -> tuple[float, float]:
    """F1 and what chance scores, channel by channel over the batch; their weighted means."""
    places = counted[:, None].numpy()
    (one, near_one, spread_one), (other, near_other, spread_other) = first, second
    weights = (spread_one * spread_other).sqrt()
    f1 = _harmonic(_part(near_other, one & places), _part(near_one, other & places))
    chance = _harmonic(_part(near_one, places), _part(near_other, places))
    total = float(weights.sum()) or 1.0  # without any weight, both are 0
    return float((f1 * weights).sum()) / total, float((chance * weights).sum()) / total


def _part(of: ArrayMask, places: ArrayMask) -> Tensor:
    """In what part of the places something is, channel by channel; 0 where there are none."""
    axes = (0, 2, 3)
    return torch.from_numpy((of & places).sum(axes) / np.maximum(places.sum(axes), 1))


def _harmonic(one: Tensor, other: Tensor) -> Tensor:
    return torch.where(one * other > 0, 2 * one * other / (one + other), 0)
