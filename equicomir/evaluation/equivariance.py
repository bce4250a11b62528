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
        generator: draws the waves.

    Returns:
        The relative error; 0 is exact. For the identity map it is the measurement's own floor.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> equivariance_error(lambda x: x, 30.0, generator=rng) < 1e-4
        True
    """
    shape = (patterns, channels, _WAVES)
    waves = (
        2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64),
        _HIGHEST_FREQUENCY * torch.rand(shape, generator=generator, dtype=torch.float64),
        2 * math.pi * torch.rand(shape, generator=generator, dtype=torch.float64),
    )
    with torch.no_grad():
        straight = f(_pattern(waves, 0.0, size)).double()
        of_turned = f(_pattern(waves, degrees, size)).double()
    inside = disk_mask(size, _DISK * size)
    difference = (_turn(straight, degrees) - of_turned)[..., inside]
    reference = of_turned[..., inside]
    spread = reference - reference.mean(-1, keepdim=True)
    return float(difference.norm() / spread.norm())


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
