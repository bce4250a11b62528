"""Collapse: terms that pull a representation towards saying less, or keep it from that.

:func:`activation_decay` and :func:`total_variation` pull; :func:`variance_term` and
:func:`covariance_term` keep; :func:`effective_rank` and :func:`variance` tell. There are two ways
to say nothing: all scenes get one image, or every scene gets a flat one, perhaps each its own.
Both count in the last four, because there each image is taken without its own mean (over the
valid pixels, for each channel). None changes when all images are turned by quarter turns or
mirrored together, and none looks outside the valid region. Precision as in
:mod:`equicomir.losses.penalties`.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from equicomir.losses.structure import single_precision, valid_squares
from equicomir.shapes import Images, Mask, check_tensor

_TINY = 1e-12  # keeps quotients finite where a representation is flat
_UNDER_THE_ROOT = 1e-4  # share of the wanted variance that keeps the root's gradient finite


def activation_decay(
    representations: Images, *, power: int = 2, mask: Mask | None = None
) -> Float[Tensor, ""]:
    """The mean size of a representation's values: the mean of |y| or of y squared.

    Zero for a representation of zeros, without upper bound. Multiplying a representation by a
    multiplies it by ``abs(a) ** power``; adding constants changes it.

    Args:
        representations: shape (batch, channels, height, width).
        power: 1 or 2.
        mask: boolean (height, width): the valid region; all of it if None.

    Returns:
        A scalar in [0, infinity).

    Raises:
        TypeError, ValueError: not such a tensor, another power, or a mask that does not fit.

    Example:
        >>> float(activation_decay(torch.full((2, 1, 8, 8), -3.0)))
        9.0

    Source:
        ``activation_decay`` of CoMIR's published code (Pielawski, Wetzer et al., NeurIPS 2020,
        arXiv 2006.06325) starts its sum at one, (1 + sum of |y|^p) / number of values, which
        is not zero at zero. Here the one is left out; the gradient is the same.
    """
    check_tensor("representations", representations, "batch channels height width")
    if power not in (1, 2):
        raise ValueError(f"power: expected 1 or 2, got {power}.")
    values = single_precision(representations)[:, :, valid_squares(representations, mask, 1)]
    size: Tensor = values.abs().mean() if power == 1 else values.square().mean()
    return size


def total_variation(
    representations: Images, *, relative: bool = True, mask: Mask | None = None
) -> Float[Tensor, ""]:
    """How rough a representation is: its mean gradient, by its standard deviation if relative.

    The gradient's square in 2 x 2 pixels is half the sum of their four squared differences, so
    that mirrors change nothing and a chequerboard counts. It rewards little detail: give it a
    negative weight to steer towards more.

    Args:
        representations: shape (batch, channels, height, width).
        relative: divide by sqrt(8) standard deviations (over the same 2 x 2 pixels).
        mask: boolean (height, width): the valid region, at least 2 x 2 pixels of it.

    Returns:
        A scalar: relative, in [0, 1], 0 if flat, 1 for a chequerboard, about 0.65 for noise; else
        in [0, infinity), per pixel, multiplied by abs(a) when a representation is by a.

    Raises:
        TypeError, ValueError: not such a tensor, or a mask that does not fit.

    Example:
        >>> slope = torch.arange(8.0).expand(1, 1, 8, 8)
        >>> round(float(total_variation(2 * slope, relative=False)), 6)
        2.0

    Source:
        Rudin, Osher and Fatemi, Physica D 60, 1992, doi 10.1016/0167-2789(92)90242-F.
    """
    check_tensor("representations", representations, "batch channels height width")
    y, cells = single_precision(representations), valid_squares(representations, mask, 2)
    corners = torch.stack([y[..., :-1, :-1], y[..., :-1, 1:], y[..., 1:, 1:], y[..., 1:, :-1]], 2)
    corners = corners[..., cells]  # (batch, channels, 4 around the cell, cells)
    steps = corners - corners.roll(1, dims=2)
    variation = torch.linalg.vector_norm(steps, dim=(1, 2)).mean(-1) / math.sqrt(2)
    plain: Tensor = variation.mean()
    if not relative:
        return plain
    deviations = corners - corners.mean((2, 3), keepdim=True)
    spread = torch.linalg.vector_norm(deviations, dim=(1, 2, 3)) / math.sqrt(4 * int(cells.sum()))
    penalty: Tensor = (variation / (math.sqrt(8) * spread + _TINY)).clamp(max=1).mean()
    return penalty


def variance_term(
    representations: Images, *, target: float = 1.0, mask: Mask | None = None
) -> Float[Tensor, ""]:
    """How far the standard deviation over scenes stays below a target, as a share of it.

        max(0, 1 - sqrt(variance / target^2 + 1e-4)), averaged over channels.

    The variance is that over the scenes of a batch at one pixel, averaged over the pixels:
    patches are cut anywhere, so all pixels have one distribution, and a few scenes suffice.
    Representations of one channel therefore need nothing special.

    Args:
        representations: shape (batch, channels, height, width); at least two scenes.
        target: the standard deviation wanted, positive, in the representation's units.
        mask: boolean (height, width): the valid region; all of it if None.

    Returns:
        A scalar in [0, 0.99]: 0 from the target on, 0.99 if collapsed. Multiplying
        representations and target by one number changes nothing; it is even in the
        representations, and adding a constant to an image changes nothing.

    Raises:
        TypeError, ValueError: not such a tensor, one scene only, a target that is not positive,
            or a mask that does not fit.

    Example:
        >>> y = torch.randn(4, 1, 8, 8, dtype=torch.float64)
        >>> torch.allclose(variance_term(3 * y + 7, target=6), variance_term(y, target=2))
        True

    Source:
        VICReg: Bardes, Ponce and LeCun 2022, arXiv 2105.04906, equations 1 and 2. There each
        feature has its own hinge; here the pixels of a channel share one, of the mean variance.
    """
    if not target > 0:
        raise ValueError(f"target: expected a positive number, got {target}.")
    variances = _centred_pixels(representations, mask).var(dim=0).mean(-1)
    return (1 - (variances / target**2 + _UNDER_THE_ROOT).sqrt()).clamp(min=0).mean()


def covariance_term(
    representations: Images,
    *,
    window: int = 3,
    relative: bool = True,
    mask: Mask | None = None,
) -> Float[Tensor, ""]:
    """Whether the features of a neighbourhood repeat each other: their squared correlations.

    The features are the values of all channels in a square window of pixels, the samples all
    places of the window in all images. So channels are decorrelated from each other and, in
    representations of one channel too, pixels from their neighbours: smooth ones are repetitive.
    With ``window=1`` the features are the channels alone. A flat representation has no
    correlation, so this belongs beside :func:`variance_term`.

    Args:
        representations: shape (batch, channels, height, width).
        window: its side, in pixels, at least 1; 2 for representations of one channel.
        relative: the mean squared correlation; else the published sum of squared covariances.
        mask: boolean (height, width): the valid region; it must hold two places of the window.

    Returns:
        A scalar: relative, in [0, 1], 0 if all features are uncorrelated (about 1 / samples for
        noise), 1 if all are copies, whatever the scale of the representations; else in
        [0, infinity), multiplied by a^4 when representations are by a.

    Raises:
        TypeError, ValueError: not such a tensor, a window of one feature, or a mask that does
            not fit.

    Example:
        >>> y = torch.rand(4, 1, 8, 8, dtype=torch.float64)
        >>> float(covariance_term(y.expand(-1, 3, -1, -1), window=1).round(decimals=6))
        1.0

    Source:
        VICReg: Bardes, Ponce and LeCun 2022, arXiv 2105.04906, equations 3 and 4.
    """
    check_tensor("representations", representations, "batch channels height width")
    features = representations.shape[1] * window**2
    if window < 1 or features < 2:
        raise ValueError(
            f"window: expected at least two features, got a window of {window} pixels "
            f"on {representations.shape[1]} channel(s)."
        )
    places = valid_squares(representations, mask, window).flatten()
    centred = torch.zeros_like(single_precision(representations))
    inside = valid_squares(representations, mask, 1)
    centred[:, :, inside] = _centred_pixels(representations, mask, scenes=1)
    samples = F.unfold(centred, window)[..., places].transpose(0, 1).flatten(1)
    if samples.shape[1] < 2:
        raise ValueError("representations: expected at least 2 places of the window, got 1.")
    samples = samples - samples.mean(1, keepdim=True)
    if relative:
        norms = torch.linalg.vector_norm(samples, dim=1, keepdim=True)
        samples = samples / (norms + _TINY)
    with torch.autocast(samples.device.type, enabled=False):
        products = samples @ samples.T
    others = ~torch.eye(features, dtype=torch.bool, device=samples.device)
    if relative:
        return products[others].square().mean()
    return (products[others] / (samples.shape[1] - 1)).square().sum() / features


def effective_rank(representations: Images, *, mask: Mask | None = None) -> float:
    """In how many directions the representations of a batch vary, counted by their spectrum.

    The exponential of the entropy of the singular values, as shares of their sum, of the matrix
    of scenes by values, each value without its mean over the scenes. Singular values that
    rounding of the representations explains count as zero.

    Args:
        representations: shape (batch, channels, height, width); at least two scenes.
        mask: boolean (height, width): the valid region; all of it if None.

    Returns:
        0 if nothing varies, else from 1 (all scenes on a line) to batch - 1 (all directions
        alike). It carries no gradient, and no scale of the representations changes it.

    Raises:
        TypeError, ValueError: not such a tensor, one scene only, or a mask that does not fit.

    Example:
        Scenes that are multiples of one image lie on a line.

        >>> strengths = torch.arange(4.0).reshape(4, 1, 1, 1)
        >>> round(effective_rank(strengths * torch.rand(1, 1, 8, 8)), 3)
        1.0

    Source:
        Roy and Vetterli, The effective rank: a measure of effective dimensionality,
        EUSIPCO 2007, pages 606-610.
    """
    with torch.no_grad():
        pixels = _centred_pixels(representations, mask).double().flatten(1)
        values = torch.linalg.svdvals(pixels - pixels.mean(0))
        raw = representations[:, :, valid_squares(representations, mask, 1)]
        size = torch.linalg.vector_norm(raw.double())
        values = values[values > 4 * torch.finfo(representations.dtype).eps * size]
        if len(values) == 0:
            return 0.0
        shares = values / values.sum()
        return math.exp(float(torch.special.entr(shares).sum()))


def variance(representations: Images, *, mask: Mask | None = None) -> float:
    """How much the representations of a batch vary from scene to scene.

    Args:
        representations: shape (batch, channels, height, width); at least two scenes.
        mask: boolean (height, width): the valid region; all of it if None.

    Returns:
        The variance over scenes (without each image's mean), averaged over pixels and channels;
        0 if collapsed, multiplied by a^2 when representations are by a. It carries no gradient.

    Raises:
        TypeError, ValueError: not such a tensor, one scene only, or a mask that does not fit.

    Example:
        >>> variance(torch.rand(1, 1, 8, 8).expand(4, -1, -1, -1))
        0.0
    """
    with torch.no_grad():
        return float(_centred_pixels(representations, mask).double().var(dim=0).mean())


def _centred_pixels(
    representations: Images, mask: Mask | None, *, scenes: int = 2
) -> Float[Tensor, "batch channels pixels"]:
    """The valid pixels, in single precision or more, each image and channel without its mean."""
    check_tensor("representations", representations, "batch channels height width")
    if len(representations) < scenes:
        raise ValueError(
            f"representations: expected at least {scenes} scenes, got {len(representations)}."
        )
    inside = valid_squares(representations, mask, 1)
    pixels = single_precision(representations)[:, :, inside]
    return pixels - pixels.mean(-1, keepdim=True)
