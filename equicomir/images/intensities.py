"""Intensities: how an instrument's numbers become numbers of about 0 to 1.

Chosen by name, computed on training images alone, stored with the model: so that the next image
of the same instrument is treated as those were, whatever it contains.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from equicomir.shapes import Image, check_tensor

#: ``"linear"`` for most; ``"log"`` for heavy tails (second harmonic, fluorescence);
#: ``"optical_density"`` for transmitted light, where stain, not light, is what adds up.
Curve = Literal["linear", "log", "optical_density"]

_DARKEST = 1e-3  # of the white light: an optical density of 3, beyond what a camera resolves


@dataclass(frozen=True)
class Scaling:
    """How the intensities of one modality become numbers of about 0 to 1.

    An intensity x becomes v = (x - zero) / unit, then by its curve v, log(1 + max(v, 0)) or
    -log10(max(v, 0.001)), and that, between ``low`` and ``high``, becomes 0 to 1.

    Attributes:
        low: value on the curve that becomes 0, a channel.
        high: value on the curve that becomes 1, a channel.
        curve: :data:`Curve`.
        zero: intensity without signal, a channel; empty for 0.
        unit: intensity that counts as one, a channel; empty for 1. Of ``"log"`` where it begins
            to bend, of ``"optical_density"`` the light without tissue.

    Raises:
        ValueError: an unknown curve, another number of channels, or nothing between the two.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    curve: Curve = "linear"
    zero: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.curve not in get_args(Curve):
            raise ValueError(f"curve: expected one of {get_args(Curve)}, got {self.curve!r}.")
        channels = {len(self.low), len(self.high)} | {len(x) for x in (self.zero, self.unit) if x}
        if len(channels) > 1 or 0 in channels:
            raise ValueError(
                f"low, high, zero, unit: expected one number a channel in each, got {channels}."
            )
        if not all(map(math.isfinite, (*self.low, *self.high, *self.zero, *self.unit))):
            raise ValueError("low, high, zero, unit: expected finite numbers, got others.")
        if not all(high > low for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"high: expected above low = {self.low}, got {self.high}.")
        if not all(unit > 0 for unit in self.unit):
            raise ValueError(f"unit: expected positive intensities, got {self.unit}.")

    def __call__(self, image: Tensor) -> Tensor:
        """Scale (..., channels, height, width); values outside are kept, not clipped.

        Raises:
            ValueError: the number of channels differs from that of the training images.
        """
        if image.shape[-3] != len(self.low):
            raise ValueError(
                f"image: expected {len(self.low)} channels, as in training, got {image.shape[-3]}."
            )
        low, high = (_a_channel(image, values) for values in (self.low, self.high))
        return (_on_curve(image, self.curve, self.zero, self.unit) - low) / (high - low)


def percentile_scaling(
    images: Sequence[Image], low: float = 1, high: float = 99, *, curve: Curve = "linear"
) -> Scaling:
    """Scaling by two percentiles over all pixels of some images (the training part's).

    Of ``"log"``, zero is the low percentile and the unit what the median lies above it; of
    ``"optical_density"``, the unit is the 99.5th percentile, the bare light of a bright-field
    picture that has some background in it.

    Args:
        images: each (channels, height, width), any sizes.
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        curve: on which they are taken.

    Returns:
        The scaling, a channel its own.

    Raises:
        ValueError: no images, an unknown curve, or ``"optical_density"`` of images without light.

    Example:
        >>> scaling = percentile_scaling([torch.arange(101.0).view(1, 1, 101)], 0, 100)
        >>> scaling.low, scaling.high
        ((0.0,), (100.0,))
        >>> light = torch.tensor([[[100.0, 10.0, 1.0]]])  # a tenth, a hundredth is let through
        >>> percentile_scaling([light], 0, 100, curve="optical_density")(light).round(decimals=2)
        tensor([[[0.0000, 0.5000, 1.0000]]])

    Source:
        Optical density: Beer and Lambert's law, as in Ruifrok and Johnston 2001, equation 1.
    """
    if not images:
        raise ValueError("images: expected at least one to scale by, got none.")
    for image in images:
        check_tensor("images", image, "channels height width")
    pixels = torch.cat([image.flatten(1) for image in images], dim=1)[:, None]
    zero, unit = _zero_and_unit(pixels[:, 0].numpy(), curve, low)
    values = _on_curve(pixels, curve, zero, unit)[:, 0].numpy()
    lows, highs = np.percentile(values, [low, high], axis=1)
    # A mostly empty image may have equal percentiles; its range is then what is left.
    highs = np.where(highs > lows, highs, np.maximum(values.max(axis=1), lows + 1e-6))
    return Scaling(_tuple(lows), _tuple(highs), curve, zero, unit)


def _zero_and_unit(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]], curve: str, low: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Where a curve begins and what it counts as one, from (channels, pixels)."""
    if curve == "log":
        zeros, middle, top = np.percentile(pixels, [low, 50, 99.9], axis=1)
        # Mostly empty images have their median at zero: a hundredth of what is bright, then.
        units = np.maximum(middle - zeros, (top - zeros) / 100)
        units = np.where(units > 0, units, np.maximum(pixels.max(axis=1) - zeros, 1e-6))
        return _tuple(zeros), _tuple(units)
    if curve == "optical_density":
        white = np.percentile(pixels, 99.5, axis=1)
        if not (white > 0).all():
            raise ValueError(
                f"images: expected light for an optical density, got a 99.5th percentile of "
                f"{white.min():g}; choose the curve 'linear'."
            )
        return (), _tuple(white)
    return (), ()


def _on_curve(image: Tensor, curve: str, zero: Sequence[float], unit: Sequence[float]) -> Tensor:
    if zero:
        image = image - _a_channel(image, zero)
    if unit:
        image = image / _a_channel(image, unit)
    if curve == "log":
        return image.clamp(min=0).log1p()
    if curve == "optical_density":
        return -image.clamp(min=_DARKEST).log10()
    return image


def _a_channel(image: Tensor, values: Sequence[float]) -> Tensor:
    return image.new_tensor(values)[:, None, None]


def _tuple(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, values))
