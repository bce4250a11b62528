"""How far a map is from commuting with rotations, with the measurement's own floor."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from equicomir.filters import disk_mask
from equicomir.shapes import Images

_WAVES = 80
_HIGHEST_FREQUENCY = 0.1  # cycles per pixel
_TAPER = 0.95  # of the half size: where the pattern has faded to zero
_DISK = 0.3  # of the size: radius inside which the error is measured


def equivariance_error(
    f: Callable[[Images], Images],
    degrees: float,
    *,
    channels: int = 1,
    size: int = 128,
    patterns: int = 4,
    patches: Images | None = None,
    generator: torch.Generator,
) -> float:
    """||R f(x) - f(R x)|| / ||f(R x) - mean f(R x)|| in a central disk, on analytic patterns.

    x is a sum of random plane waves, so that its turned copy is computed at turned coordinates
    and not interpolated; f(x) is turned by an order-5 spline, quarter turns exactly.

    Args:
        f: the map, from (patterns, channels, size, size) to representations of that size.
        degrees: by how much to turn.
        channels: of the map's input.
        size: in pixels.
        patterns: how many are averaged over.
        patches: real square images to measure on instead, (batch, channels, size, size). They
            are turned by the spline too, so what it does to them counts as the map's error, but
            for a map that commutes with it, such as the identity.
        generator: draws the waves.

    Returns:
        The relative error; 0 is exact. For the identity map it is the measurement's own floor.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> equivariance_error(lambda x: x, 30.0, generator=rng) < 1e-4
        True
    """
    turned, of_turned = _both_ways(f, degrees, channels, size, patterns, patches, generator)
    spread = of_turned - of_turned.mean(-1, keepdim=True)
    return float((turned - of_turned).norm() / spread.norm())


def equivariance_decibels(
    f: Callable[[Images], Images],
    degrees: float,
    *,
    channels: int = 1,
    size: int = 128,
    patterns: int = 4,
    patches: Images | None = None,
    generator: torch.Generator,
) -> float:
    """The same as a peak signal to noise ratio, more is better.

    10 log10(range(f(x))^2 / mean((R f(x) - f(R x))^2)), in the central disk.

    Args:
        f, degrees, channels, size, patterns, patches, generator: as in
            :func:`equivariance_error`.

    Returns:
        In decibels; infinite where the map is exact.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> equivariance_decibels(lambda x: x, 30.0, generator=rng) > 80
        True

    Source:
        EQ-R of Karras et al., Alias-free generative adversarial networks, NeurIPS 2021,
        arXiv 2106.12423, equation 17, with the range of the map's own output.
    """
    turned, of_turned = _both_ways(f, degrees, channels, size, patterns, patches, generator)
    mean_square = float((turned - of_turned).square().mean())
    span = float(turned.max() - turned.min())
    return 10 * math.log10(span**2 / mean_square) if mean_square else math.inf


def _both_ways(
    f: Callable[[Images], Images],
    degrees: float,
    channels: int,
    size: int,
    patterns: int,
    patches: Images | None,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """R f(x) and f(R x) inside the disk, (patterns, channels, pixels) each."""
    if patches is None:
        shape = (patterns, channels, _WAVES)
        uniform = [torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
        waves = (
            2 * math.pi * uniform[0],
            _HIGHEST_FREQUENCY * uniform[1],
            2 * math.pi * uniform[2],
        )
        x, turned_x = (_pattern(waves, angle, size) for angle in (0.0, degrees))
    else:
        x, turned_x, size = patches, _turn(patches, degrees).to(patches), patches.shape[-1]
    with torch.no_grad():
        straight, of_turned = f(x).double(), f(turned_x).double()
    inside = disk_mask(size, _DISK * size)
    return _turn(straight, degrees)[..., inside], of_turned[..., inside]


def _pattern(
    waves: tuple[torch.Tensor, torch.Tensor, torch.Tensor], degrees: float, size: int
) -> Images:
    """The sum of waves under its taper, with everything turned by an angle."""
    directions = waves[0]
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    # The pixel p of the turned pattern shows what was at R^-1 p: R^-1 turns by -degrees.
    cos, sin = math.cos(math.radians(-degrees)), math.sin(math.radians(-degrees))
    rows, columns = cos * rows - sin * columns, sin * rows + cos * columns
    radius = (rows.square() + columns.square()).sqrt() / (_TAPER * size / 2)
    taper = torch.where(radius < 1, torch.cos(math.pi / 2 * radius.clamp(max=1)).square(), 0.0)
    total = torch.zeros(*directions.shape[:2], size, size, dtype=torch.float64)
    for index in range(_WAVES):
        angle, frequency, phase = (w[..., index, None, None] for w in waves)
        along = rows * torch.cos(angle) + columns * torch.sin(angle)
        total += torch.cos(2 * math.pi * frequency * along + phase)
    return (total * taper / math.sqrt(_WAVES)).float()


def _turn(images: Images, degrees: float) -> Images:
    """Turn as ``torch.rot90`` does: exactly for quarter turns, else by an order-5 spline."""
    if degrees % 90 == 0:
        return torch.rot90(images, round(degrees / 90), (2, 3))
    # scipy turns as rot90(k=1) does for a positive angle with axes=(1, 0) of (row, column).
    turned = ndimage.rotate(
        images.numpy(), degrees, axes=(3, 2), reshape=False, order=5, mode="nearest"
    )
    return torch.from_numpy(np.ascontiguousarray(turned))
