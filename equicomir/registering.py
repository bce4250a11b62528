"""From two images to where one lies in the other: what Python and the command line share.

Encode, register through the representations, judge, and refine where more than a rigid transform
was asked for. With arrays alone: files, pixel sizes and pages belong to :mod:`equicomir.commands`.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from equicomir import representations, tiles
from equicomir.registration import elastix, search
from equicomir.registration.alignment import Alignment
from equicomir.registration.evidence import Register
from equicomir.registration.verdict import judged, read_calibration
from equicomir.representations import Representations
from equicomir.shapes import Array, ArrayMask, Image

#: What is found: rotation and translation, with scale, with shear, or with a deformation too.
Transform = Literal["rigid", "similarity", "affine", "bspline"]


def load(path: str | Path) -> Representations:
    """Read a model that ``equicomir train`` or :func:`equicomir.representations.save` wrote.

    Raises:
        ValueError: a file is missing, damaged, or does not belong to the other; it is named.
    """
    return representations.load(Path(path))


def encode(model: Representations, image: Array | torch.Tensor, *, modality: str) -> Array:
    """The representation of one image, of any size.

    Args:
        model: of the modality.
        image: (height, width) or (channels, height, width), of any real type, in the units that
            the instrument gave in training.
        modality: whose encoder to use.

    Returns:
        float32, (representation channels, height, width).

    Raises:
        TypeError: no array of real numbers.
        ValueError: unknown modality, another number of channels than in training, or a value that
            is not finite.

    Example:
        >>> from equicomir.images.intensities import Scaling
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": Scaling((0.0,), (255.0,))}, generator=rng)
        >>> image = np.random.default_rng(0).integers(0, 256, size=(64, 64))
        >>> turned = encode(model, np.rot90(image), modality="T1")
        >>> straight = encode(model, image, modality="T1")
        >>> bool(np.allclose(turned, np.rot90(straight, axes=(1, 2)), atol=1e-4))
        True
    """
    model.encoder(modality)  # known, or refused before anything else
    pixels = as_image("image", image, len(model.scalings[modality].low))
    if model.settings.family == "tiramisu":  # looks too far for windows
        return np.asarray(model.encode(modality, pixels[None])[0].numpy())
    return np.asarray(tiles.encode(model, modality, pixels[None])[0].numpy())


def register(
    model: Representations,
    fixed: Array | torch.Tensor,
    moving: Array | torch.Tensor,
    *,
    fixed_modality: str | None = None,
    moving_modality: str | None = None,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    transform: Transform = "rigid",
) -> Alignment:
    """Where a moving image lies in a fixed one, at any angle, and whether to trust it.

    Args:
        model: of both modalities.
        fixed: (height, width) or (channels, height, width), as for :func:`encode`.
        moving: likewise; its pixels of the same size as those of ``fixed``.
        fixed_modality: the model's first if None.
        moving_modality: the model's second if None.
        fixed_mask: boolean (height, width), true where the image counts; None for everywhere.
        moving_mask: likewise.
        transform: what is found; all but ``"rigid"`` by elastix (the extra ``baselines``), from
            the rigid one.

    Returns:
        ``moving_to_fixed``, 3 x 3 over (row, column, 1) of pixel centres; ``confidence`` in
        [0, 1] and ``trusted``; a ``displacement`` for ``"bspline"``. Where nothing was found,
        ``failure`` says why.

    Raises:
        TypeError, ValueError: as :func:`encode` and :func:`equicomir.registration.search.register`;
            or elastix is asked for and not there.

    Example:
        >>> from equicomir.geometry import rotation_degrees
        >>> from equicomir.images.intensities import Scaling
        >>> rng = torch.Generator().manual_seed(0)
        >>> model = Representations({"T1": Scaling((0.0,), (1.0,))}, generator=rng)
        >>> image = np.random.default_rng(0).random((8, 8)).repeat(8, 0).repeat(8, 1)
        >>> found = register(model, image, np.rot90(image), moving_modality="T1")
        >>> round(rotation_degrees(found.moving_to_fixed)), found.trusted
        (-90, True)
    """
    first, second, *_ = [*model.scalings, *model.scalings]  # one alone is both
    seen = (
        compared(model, encode(model, fixed, modality=fixed_modality or first)),
        compared(model, encode(model, moving, modality=moving_modality or second)),
    )
    return aligned(
        search.register, *seen, fixed_mask=fixed_mask, moving_mask=moving_mask, transform=transform
    )


def compared(model: Representations, representation: Array) -> Array:
    """What is to be compared of a representation: behind the high-pass of the model, if any.

    Args:
        model: that made it.
        representation: (channels, height, width), as :func:`encode` gives it.

    Returns:
        float64, the same shape.
    """
    whole = torch.from_numpy(representation.astype(np.float64))[None]
    return np.asarray(model.compared(whole)[0].numpy())


def aligned(
    method: Register,
    fixed: Array,
    moving: Array,
    *,
    fixed_mask: ArrayMask | None = None,
    moving_mask: ArrayMask | None = None,
    transform: Transform = "rigid",
) -> Alignment:
    """The alignment of two representations, or of raw images, with its confidence.

    Args:
        method: of :mod:`equicomir.registration`, one with a calibration in the package.
        fixed: (channels, height, width).
        moving: likewise.
        fixed_mask: boolean (height, width), or None for everywhere.
        moving_mask: likewise.
        transform: what elastix adds is trusted as far as the rigid transform it begins with, whose
            ``score_by_angle`` stays.

    Returns:
        The alignment, with ``confidence`` and ``trusted``.

    Raises:
        TypeError, ValueError: as the method; or elastix is asked for and not there.
    """
    check_transform(transform)
    found = judged(
        method,
        fixed,
        moving,
        calibration=read_calibration(method),
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
    )
    if found.failure or transform == "rigid":
        return found
    better = elastix.register(
        # elastix takes the mean of the channels, and wants as many of both.
        fixed.mean(0, keepdims=True),
        moving.mean(0, keepdims=True),
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        transform=transform,
        initial=found.moving_to_fixed,
        measure="correlation" if method is search.register else "mutual_information",
    )
    if better.failure:
        return replace(better, confidence=0.0)
    return replace(
        better,
        score_by_angle=found.score_by_angle,  # elastix looks at no angle but this one
        confidence=found.confidence,
        trusted=found.trusted,
        evidence=found.evidence,
    )


def check_transform(transform: Transform) -> None:
    """Refuse what elastix is needed for where it is not.

    Raises:
        ValueError: what to install is said.
    """
    if transform != "rigid" and importlib.util.find_spec("itk") is None:
        raise ValueError(
            f"transform: expected the package itk-elastix for {transform!r}, found none; say "
            f'rigid, or: pip install "equicomir[baselines]".'
        )


def as_image(name: str, image: Array | torch.Tensor, channels: int) -> Image:
    """An image as a float32 tensor (channels, height, width), checked.

    Args:
        name: of the argument, for errors.
        image: (height, width), for one channel, or (channels, height, width).
        channels: how many there should be.

    Returns:
        Shape (channels, height, width), float32.

    Raises:
        TypeError: no array of real numbers.
        ValueError: another shape, or a value that is not finite.
    """
    values = np.asarray(image)
    if values.dtype.kind not in "buif":
        raise TypeError(f"{name}: expected an array of real numbers, got {values.dtype}.")
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[0] != channels:
        last = values.ndim == 3 and values.shape[-1] == channels
        what_to_do = "; say np.moveaxis(image, -1, 0)" if last else ""
        raise ValueError(
            f"{name}: expected ({channels}, height, width), got {np.shape(image)}{what_to_do}."
        )
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite values, got NaN or infinity; fill and mask it.")
    return torch.from_numpy(np.ascontiguousarray(values))
