"""Structure penalties: how far a representation is from keeping what its input shows.

Each is a scalar that may be added, times a weight, to a contrastive loss. All lie in [0, 1] and

- do not change when a representation becomes ``scale * representation + constants``, for any
  scale, negative too, down to values of about 1e-9, and a constant for each image and channel;
- do not change when representation and image are turned by quarter turns or mirrored together;
- look only at the valid region, stencils included: what lies outside the mask (or the image)
  never enters, whatever its value, and gets no gradient;
- take any numbers of channels, which are summed in squares;
- are computed in single precision at least, inside autocast too, with finite gradients, which
  are zero where a representation is flat: there none of them knows which way to go.

Penalties of a representation alone stand in :mod:`equicomir.losses.collapse`.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equicomir.losses.structure import (
    blurred,
    descriptors,
    gradient_tensors,
    gradients,
    single_precision,
    standardised,
    tapered,
    valid_squares,
)
from equicomir.shapes import Images, Mask, check_tensor

_TINY = 1e-12  # keeps quotients finite where a representation is flat
_FLAT = 1e-6  # share of the power that counts as nothing


def gradient_agreement(
    representations: Images, images: Images, *, edge: float = 1.0, mask: Mask | None = None
) -> Float[Tensor, ""]:
    """Whether edges lie where the image's lie, and alike: normalised gradient fields.

    With the field n = grad y / sqrt(|grad y|^2 + e^2), e being ``edge`` times the mean of
    |grad y|, and the products N = n n^T (for more channels their sum, by the sum of squares):

        1 - <N(y), N(x)> / (|N(y)| |N(x)|), summed over the pixels of each image.

    0 if y is the image or its negative, about 0.6 for unrelated images, 1 if all gradients are
    perpendicular or one of the two is flat.

    Args:
        representations: y, shape (batch, channels, height, width).
        images: x, shape (batch, any channels, height, width).
        edge: the gradient, in units of its mean, at which a pixel counts half; positive.
        mask: boolean (height, width): the valid region, at least 2 x 2 pixels of it.

    Returns:
        A scalar in [0, 1].

    Raises:
        TypeError, ValueError: tensors that do not fit each other or the mask, or ``edge``.

    Example:
        >>> x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        >>> bool(gradient_agreement(5 - 2 * x, x) < 1e-9)
        True

    Source:
        Haber and Modersitzki, MICCAI 2006, doi 10.1007/11866763_89, the distance of normalised
        gradient fields. There the mean of 1 - <n(y), n(x)>^2, which flat regions keep from zero
        for equal images; here it is normalised over the image. Gradients are those of 2 x 2
        pixels, which see higher frequencies than central differences.
    """
    y, x, inside = _checked(representations, images, mask)
    _check_positive("edge", edge)
    cells = valid_squares(y, mask, 2)

    def field(of: Images) -> Tensor:
        slopes = gradients(standardised(of, inside))[..., cells]
        mean = torch.linalg.vector_norm(slopes, dim=(1, 2)).mean(-1)[:, None, None]
        tensors = gradient_tensors(slopes)
        trace = tensors[:, :2].sum(1, keepdim=True)
        normalised: Tensor = tensors / (trace + (edge * mean).square() + _TINY)
        # The product of two symmetric tensors counts the mixed component twice.
        return normalised * normalised.new_tensor([1, 1, math.sqrt(2)])[:, None]

    penalty: Tensor = (1 - _cosines(field(y), field(x))).mean()
    return penalty


def orientation_agreement(
    representations: Images,
    images: Images,
    *,
    sigma: float = 1.0,
    edge: float = 1.0,
    mask: Mask | None = None,
) -> Float[Tensor, ""]:
    """Whether local orientations agree, wherever exactly the edges lie and however strong.

    With the structure tensor J (products of gradients, smoothed) its orientation is the angle of
    z = (J_rr - J_cc, 2 J_rc) / (trace J + e), doubled, and its coherence the length, e being
    ``edge^2`` times the mean trace. The penalty is

        (1 - <z(y), z(x)> / (|z(y)| |z(x)|)) / 2, summed over the pixels of each image:

    0 if y is the image or its negative, 1/2 for unrelated images or a flat one, 1 if all
    orientations are perpendicular and equally marked.

    Args:
        representations: y, shape (batch, channels, height, width).
        images: x, shape (batch, any channels, height, width).
        sigma: of the Gaussian that smooths J, in pixels; positive, cut at three.
        edge: the gradient, in units of its root mean square, at which a pixel counts half.
        mask: boolean (height, width): the valid region; it must hold a square of
            ``2 + 2 * ceil(3 * sigma)`` pixels.

    Returns:
        A scalar in [0, 1].

    Raises:
        TypeError, ValueError: tensors that do not fit each other or the mask, or an option.

    Example:
        >>> x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        >>> bool(orientation_agreement(5 - 2 * x, x) < 1e-9)
        True

    Source:
        The double-angle form of the structure tensor: Bigün, Granlund and Wiklund, IEEE TPAMI
        13(8), 1991, doi 10.1109/34.85668. The normalised product over the image is ours.
    """
    y, x, inside = _checked(representations, images, mask)
    _check_positive("sigma", sigma)
    _check_positive("edge", edge)
    places = valid_squares(y, mask, 2 + 2 * math.ceil(3 * sigma))

    def orientation(of: Images) -> Tensor:
        slopes = gradients(standardised(of, inside))
        tensors = blurred(gradient_tensors(slopes), sigma)[..., places]
        trace = tensors[:, :2].sum(1, keepdim=True)
        doubled = torch.stack([tensors[:, 0] - tensors[:, 1], 2 * tensors[:, 2]], dim=1)
        return doubled / (trace + edge**2 * trace.mean(-1, keepdim=True) + _TINY)

    penalty: Tensor = (1 - _cosines(orientation(y), orientation(x))).mean() / 2
    return penalty


def self_similarity(
    representations: Images,
    images: Images,
    *,
    patch_radius: int = 1,
    search_radius: int = 1,
    mask: Mask | None = None,
) -> Float[Tensor, ""]:
    """Whether each neighbourhood resembles its surroundings as the image's does: MIND.

    The descriptor of a pixel has a value for each r of the search region, all other pixels of a
    square about it: exp(-D(r) / V), divided by the greatest of them, where D(r) is the mean
    squared difference of the square patches at the pixel and at r away, and V the mean of D over
    the four neighbours (plus 1 % of V's mean over the image, where it is flat). The penalty is
    the mean absolute difference of descriptors: 0 if y is the image or its negative. Where the
    image is flat it asks for a flat representation.

    Args:
        representations: y, shape (batch, channels, height, width).
        images: x, shape (batch, any channels, height, width).
        patch_radius: patches are squares of ``2 * patch_radius + 1`` pixels; at least 0.
        search_radius: likewise of the search region; at least 1.
        mask: boolean (height, width): the valid region; it must hold a square of
            ``2 * (patch_radius + search_radius) + 1`` pixels.

    Returns:
        A scalar in [0, 1): about 0.25 to 0.35 for unrelated images, 0.4 to 0.5 if one is flat.

    Raises:
        TypeError, ValueError: tensors that do not fit each other or the mask, or an option.

    Example:
        >>> x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        >>> bool(self_similarity(5 - 2 * x, x) < 1e-9)
        True

    Source:
        Heinrich et al., Medical Image Analysis 16(7), 2012, doi 10.1016/j.media.2012.05.008,
        section 3; patches are weighted evenly here.
    """
    y, x, inside = _checked(representations, images, mask)
    for name, value, least in (
        ("patch_radius", patch_radius, 0),
        ("search_radius", search_radius, 1),
    ):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}.")
    places = valid_squares(y, mask, 2 * (patch_radius + search_radius) + 1)
    of_y, of_x = (
        descriptors(standardised(of, inside), patch_radius, search_radius, places) for of in (y, x)
    )
    return (of_y - of_x).abs().mean()


def spectral_retention(
    representations: Images, images: Images, *, cutoff: float = 0.1, mask: Mask | None = None
) -> Float[Tensor, ""]:
    """The part that is lost of the image's share of power above a frequency.

    With h the share of power (without the mean) at frequencies above the cut-off it is
    max(0, h(x) - h(y)) / h(x): 0 if a representation keeps the image's share or has more, 1 if
    it has none; 0 for an image with nothing to keep. It asks how much, not where.

    Args:
        representations: y, shape (batch, channels, height, width).
        images: x, shape (batch, any channels, height, width).
        cutoff: in cycles per pixel, in (0, 0.5].
        mask: boolean (height, width): the valid region; the spectrum is that of the image times
            a window that falls to zero over the region's outer 8 pixels.

    Returns:
        A scalar in [0, 1].

    Raises:
        TypeError, ValueError: tensors that do not fit each other or the mask, or ``cutoff``.

    Example:
        >>> x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        >>> float(spectral_retention(x, x))
        0.0

    Source:
        The windowed periodogram: Welch, IEEE Trans. Audio Electroacoust. 15(2), 1967,
        doi 10.1109/TAU.1967.1161901. Retention as a penalty is ours.
    """
    y, x, inside = _checked(representations, images, mask)
    if not 0 < cutoff <= 0.5:
        raise ValueError(f"cutoff: expected cycles per pixel in (0, 0.5], got {cutoff}.")
    window = tapered(inside).to(y)
    rows, columns = (
        torch.fft.fftfreq(n, dtype=torch.float64, device=y.device) for n in x.shape[2:]
    )
    above = rows[:, None].square() + columns.square() > cutoff**2

    def share(of: Images) -> Tensor:
        flat = standardised(of, inside)
        mean = (window * flat).sum((-2, -1), keepdim=True) / window.sum()
        spectrum = torch.fft.fft2((flat - mean) * window, norm="ortho")
        power = (spectrum.real.square() + spectrum.imag.square()).sum(1)
        whole = power.sum((-2, -1)) + _FLAT * window.square().sum()
        part: Tensor = power[:, above].sum(-1) / whole
        return part

    wanted = share(x)
    penalty: Tensor = ((wanted - share(y)).clamp(min=0) / (wanted + _FLAT)).mean()
    return penalty


def _checked(
    representations: Images, images: Images, mask: Mask | None
) -> tuple[Images, Images, Mask]:
    """Both, checked, in one precision; and the valid region."""
    check_tensor("representations", representations, "batch channels height width")
    check_tensor("images", images, "batch channels height width")
    expected, came = ((len(of), *of.shape[-2:]) for of in (representations, images))
    if came != expected:
        raise ValueError(
            "images: expected the batch, height and width of representations, "
            f"{expected}, got {came}."
        )
    y = single_precision(representations)
    return y, images.to(y), valid_squares(y, mask, 1)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: expected a positive number, got {value}.")


def _cosines(first: Tensor, second: Tensor) -> Float[Tensor, " batch"]:
    """Of the angles between fields, each image's whole field being one vector; 0 for a zero."""
    first, second = (
        field / (torch.linalg.vector_norm(field, dim=1, keepdim=True) + _TINY)
        for field in (first.flatten(1), second.flatten(1))
    )
    cosines: Tensor = (first * second).sum(1).clamp(-1, 1)  # but for rounding it lies there
    return cosines
