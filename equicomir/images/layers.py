"""Extra input channels, each with the word that keeps an encoder equivariant: its frequency.

A layer computes channels from an image that an encoder would have to learn: edges, texture,
detail. When the image turns, a layer's pixels move and, if it is a vector or an axis, its
components mix; the encoder must be told which::

    layers = [gradient_field(), gradient_magnitude()]
    encoder = steerable(4, frequencies=frequencies_of(1, layers), generator=generator)
    representation = encoder(with_layers(images, layers))

Every layer commutes with quarter turns and mirrors to rounding, borders included, and looks no
further than its reach: so a patch sees what the whole image sees, and layers are made *after* a
patch is cut and turned. All are scaled for images of about 0 to 1 (as
:func:`equicomir.images.intensities.percentile_scaling` makes them), to values of about one; the
strongest noise reaches three. Here are derivatives and filters; texture and the distance to
edges, which no filter can make, are in :mod:`equicomir.images.neighbourhoods`.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from equicomir import filters
from equicomir.differentials import (
    GRADIENT_REACH,
    gradient,
    structure_tensor,
    structure_tensor_reach,
)
from equicomir.filters import Filter, gaussian_high_pass, laplacian_of_gaussian
from equicomir.shapes import Images, check_tensor

_LEAST_SIGMA = 0.75  # a narrower Gaussian, made in Fourier space, rings far over the pixels
_ROUNDING = 1e-3  # below such a magnitude its square root is rounded off, to have a slope at zero


@dataclass(frozen=True)
class Layer:
    """What is computed from a channel of an image, and how it turns with it.

    Attributes:
        name: what it is, with its numbers; layers of one name are the same.
        frequencies: the fields it adds for **one** channel of the image: 0 a scalar (one
            channel), 1 a vector (two: along rows, along columns), 2 an axis (two: the cosine and
            the sine of twice its angle from the rows' direction, times a strength).
        reach: how far the border reaches, in pixels; where a filter is behind the layer, up to
            that filter's tolerance. A blur's is below 1e-3 of the image's range from a ``sigma``
            of 1.2 pixels on, 6e-3 at 1 and 4e-2 at 0.75.
        function: from (batch, channels, height, width) to the fields of the first channel, then
            of the second, and so on. Of a module (or a ``functools.partial`` of one), so that
            the layer can be pickled.

    Raises:
        ValueError: no frequencies, or another than 0, 1 and 2.

    Example:
        >>> layer = gradient_field()
        >>> layer.frequencies, layer(torch.rand(1, 3, 8, 9)).shape
        ((1,), torch.Size([1, 6, 8, 9]))
    """

    name: str
    frequencies: tuple[int, ...]
    reach: int
    function: Callable[[Images], Images] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        known = all(frequency in (0, 1, 2) for frequency in self.frequencies)
        if not self.frequencies or not known:
            raise ValueError(
                f"frequencies: expected 0, 1 or 2 for each field, got {self.frequencies}."
            )

    @property
    def channels(self) -> int:
        """Channels that it adds for one channel of the image."""
        return sum(1 if frequency == 0 else 2 for frequency in self.frequencies)

    def __call__(self, images: Images) -> Images:
        """Compute the layer.

        Args:
            images: shape (batch, channels, height, width), scaled to about [0, 1].

        Returns:
            Shape (batch, channels times :attr:`channels`, height, width), of the same type.

        Raises:
            TypeError, ValueError: not such a tensor, or the function makes another shape.
        """
        check_tensor("images", images, "batch channels height width")
        batch, channels, height, width = images.shape
        made = self.function(images)
        expected = (batch, channels * self.channels, height, width)
        if tuple(made.shape) != expected:
            raise ValueError(
                f"{self.name}: expected its function to make the shape {expected}, which "
                f"frequencies {self.frequencies} declare, got {tuple(made.shape)}."
            )
        return made.to(images.dtype)


def with_layers(images: Images, layers: Sequence[Layer]) -> Images:
    """The images, followed by what each layer adds.

    Args:
        images: shape (batch, channels, height, width), scaled to about [0, 1].
        layers: in the order wanted. Of several channels, a layer adds its fields of the first
            channel, then of the second, and so on; then comes the next layer.

    Returns:
        Shape (batch, channels + added, height, width); :func:`frequencies_of` says what each is.

    Raises:
        TypeError, ValueError: not such a tensor.

    Example:
        >>> x = torch.rand(1, 1, 8, 8)
        >>> layered = with_layers(x, [gradient_magnitude(), structure_field()])
        >>> layered.shape, torch.equal(layered[:, :1], x)
        (torch.Size([1, 5, 8, 8]), True)
    """
    check_tensor("images", images, "batch channels height width")
    with torch.autocast(images.device.type, enabled=False):  # derivatives of a few bits say little
        return torch.cat([images, *(layer(images) for layer in layers)], dim=1)


def frequencies_of(channels: int, layers: Sequence[Layer]) -> tuple[int, ...]:
    """What the channels of :func:`with_layers` are: the encoder's argument ``frequencies``.

    Args:
        channels: of the images, all scalars.
        layers: the same, in the same order.

    Returns:
        One frequency a field. The encoder's ``in_channels`` is the number of channels of
        :func:`with_layers`: one for each 0, two for each other frequency.

    Raises:
        ValueError: fewer than one channel.

    Example:
        >>> frequencies_of(2, [gradient_field(), structure_field()])
        (0, 0, 1, 1, 0, 2, 0, 2)
    """
    if channels < 1:
        raise ValueError(f"channels: expected 1 or more, got {channels}.")
    return (0,) * channels + tuple(f for layer in layers for f in layer.frequencies * channels)


# -------------------------------------------------------------------------------- gradients


def gradient_field(sigma: float = 1.5) -> Layer:
    """The gradient of the blurred image, a vector: along a sharp step from 0 to 1 its length is 1.

    Args:
        sigma: standard deviation of the blur, in pixels, at least 0.75.

    Returns:
        The layer, of frequency 1.

    Raises:
        TypeError, ValueError: ``sigma`` is not such a number.

    Example:
        >>> step = (torch.arange(21.0) > 10).float() + 0.5 * (torch.arange(21.0) == 10)
        >>> vector = gradient_field(2.0)(step.view(1, 1, 21, 1).expand(1, 1, 21, 21))[0, :, 10, 10]
        >>> round(float(vector[0]), 1), round(float(vector[1]), 6)
        (1.0, 0.0)
    """
    blur = _blur(sigma)
    name, reach = f"gradient_field({float(sigma)})", blur.reach + GRADIENT_REACH
    return Layer(name, (1,), reach, partial(_vectors, blur=blur, scale=_step_scale(sigma)))


def gradient_magnitude(sigma: float = 1.5) -> Layer:
    """The length of :func:`gradient_field`, a scalar: 1 along a sharp step from 0 to 1.

    Lengths below 1e-3 are rounded off towards zero, so that the layer has a slope everywhere.

    Args:
        sigma: as there.

    Returns:
        The layer, of frequency 0.

    Raises:
        TypeError, ValueError: ``sigma`` is not such a number.

    Example:
        >>> gradient_magnitude()(torch.ones(1, 1, 4, 4)).abs().max() < 1e-6
        tensor(True)
    """
    blur = _blur(sigma)
    name, reach = f"gradient_magnitude({float(sigma)})", blur.reach + GRADIENT_REACH
    return Layer(name, (0,), reach, partial(_lengths, blur=blur, scale=_step_scale(sigma)))


def structure_field(sigma: float = 2.0) -> Layer:
    """The structure tensor: how strongly, and along which axis, the image varies about a pixel.

    Its trace, then J_rr - J_cc and 2 J_rc, of :func:`equicomir.differentials.structure_tensor`,
    scaled so that the trace on a sharp step from 0 to 1 is about 1. It is quadratic: at a tenth
    of the contrast it is a hundredth.

    Args:
        sigma: standard deviation of the mean, in pixels, at least 0.75.

    Returns:
        The layer, of frequencies 0 and 2.

    Raises:
        TypeError, ValueError: ``sigma`` is not such a number.

    Example:
        >>> structure_field().frequencies, structure_field().reach
        ((0, 2), 8)

    Source:
        Weickert 1999, doi 10.1023/A:1008009714131; the double angle: Bigün and Granlund 1987.
    """
    sigma = _checked_sigma(sigma)
    # A step's squared derivative is 1/4 on two pixels, of which the mean sees 2 / (sqrt(2pi) s).
    scale = 2 * math.sqrt(2 * math.pi) * sigma
    function = partial(_structure, sigma=sigma, scale=scale)
    return Layer(f"structure_field({sigma})", (0, 2), structure_tensor_reach(sigma), function)


# ---------------------------------------------------------------------------------- filters


def laplacian(peak: float = 0.1) -> Layer:
    """The Laplacian of Gaussian, a scalar: bright blobs and ridges are positive, dark negative.

    :func:`equicomir.filters.laplacian_of_gaussian`; a wave between 0 and 1 of the peak frequency
    stays between -1/2 and 1/2.

    Args:
        peak: the frequency that passes unchanged, in cycles per pixel, in (0, 0.5].

    Returns:
        The layer, of frequency 0.

    Raises:
        TypeError, ValueError: ``peak`` is not such a number.

    Example:
        >>> laplacian(0.1).name
        'laplacian_of_gaussian(0.1)'

    Source:
        Marr and Hildreth 1980, doi 10.1098/rspb.1980.0020.
    """
    return of_filter(laplacian_of_gaussian(peak))


def high_passed(cutoff: float = 0.05) -> Layer:
    """A copy without its slow variation, a scalar: what shading and stain leave alone.

    Args:
        cutoff: where the response of :func:`equicomir.filters.gaussian_high_pass` is one half,
            in cycles per pixel, in (0, 0.5].

    Returns:
        The layer, of frequency 0; for images of 0 to 1 between -1 and 1.

    Raises:
        TypeError, ValueError: ``cutoff`` is not such a number.

    Example:
        >>> high_passed(0.05).reach
        14
    """
    return of_filter(gaussian_high_pass(cutoff))


def of_filter(image_filter: Filter) -> Layer:
    """What any filter of :mod:`equicomir.filters` lets through, a scalar.

    Example:
        >>> of_filter(filters.butterworth_high_pass(0.1)).frequencies
        (0,)
    """
    return Layer(image_filter.name, (0,), image_filter.reach, image_filter)


# ---------------------------------------------------------------- what the layers compute


def _vectors(images: Tensor, blur: Filter, scale: float) -> Tensor:
    return scale * gradient(blur(_wide(images)))


def _lengths(images: Tensor, blur: Filter, scale: float) -> Tensor:
    squared = _vectors(images, blur, scale).square().unflatten(1, (-1, 2)).sum(2)
    lengths: Tensor = squared / ((squared + _ROUNDING**2).sqrt() + _ROUNDING)
    return lengths


def _structure(images: Tensor, sigma: float, scale: float) -> Tensor:
    return scale * structure_tensor(_wide(images), sigma)


def _wide(images: Tensor) -> Tensor:
    return images if images.dtype == torch.float64 else images.float()


# --------------------------------------------------------------------------------- checks


def _blur(sigma: float) -> Filter:
    """The Gaussian of that standard deviation, in pixels."""
    # gaussian_sigma is inversely proportional to the cut-off.
    return gaussian_high_pass(
        filters.gaussian_sigma(0.5) * 0.5 / _checked_sigma(sigma)
    ).complement()


def _step_scale(sigma: float) -> float:
    """One over the central difference, two pixels wide, of a blurred step from 0 to 1."""
    return 2 / math.erf(1 / (math.sqrt(2) * sigma))


def _checked_sigma(sigma: float) -> float:
    if isinstance(sigma, bool) or not isinstance(sigma, numbers.Real):
        raise TypeError(f"sigma: expected a number of pixels, got {type(sigma).__name__}.")
    if not _LEAST_SIGMA <= sigma < math.inf:
        raise ValueError(f"sigma: expected at least {_LEAST_SIGMA} pixels, got {sigma}.")
    return float(sigma)
