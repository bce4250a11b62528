"""What the gate asks of the encoders, filter and loss of one run, before it trains."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from equicomir import properties
from equicomir.encoders.groups import parse_group
from equicomir.losses.rotated_pairs import valid_disk
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Stack
from equicomir.training.settings import TrainingSettings
from equicomir.training.start import coarse, filter_of, objective


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


#: The similarities by their definition, of the values of two representations.
_OF_ONE_PAIR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "negative_mse": lambda a, b: -(a - b).square().mean(),
    "gaussian": lambda a, b: (-(a - b).square().mean() / 2).exp(),
    "negative_l1": lambda a, b: -(a - b).abs().mean(),
    "cosine": _cosine,
    "correlation": lambda a, b: _cosine(a - a.mean(), b - b.mean()),
    "angular": lambda a, b: 1 - 2 / math.pi * torch.acos(_cosine(a, b).clamp(-1, 1)),
}


def claims(model: Representations, settings: TrainingSettings) -> list[properties.Property]:
    """What the gate asks of the encoders, filter and loss of one run.

    Of an encoder that promises nothing under turning (the controls) nothing is asked there.

    Args:
        model: untrained or trained.
        settings: of its training.

    Returns:
        The claims, for :func:`equicomir.gate.gate`.
    """
    image_filter = filter_of(settings)
    asked = []
    for modality in model.scalings if turns_exactly(model.settings) else ():
        encoder = model.encoder(modality)
        asked += properties.of_encoder(
            f"encoder of {modality}",
            partial(model.of_scaled, modality),
            channels=len(model.scalings[modality].low),
            size_multiple=encoder.size_multiple,
            size_offset=encoder.size_offset,
        )
    if image_filter is not None:
        asked += properties.of_filter(image_filter)
    channels = model.settings.representation_channels
    asked += _of_objective(settings, channels)
    return asked + (_of_objective(coarse(settings), channels) if settings.coarse_first else [])


def _of_objective(settings: TrainingSettings, channels: int) -> list[properties.Property]:
    image_filter, share, shift = filter_of(settings), settings.unfiltered, settings.shift_pixels
    filtered = image_filter is not None and share < 1
    whole = partial(
        partial(naive_with_shifted, shift=shift) if shift else properties.naive_info_nce,
        temperature=settings.temperature,
        mask=valid_disk(settings.patch_size, shift),
        similarity=_OF_ONE_PAIR[settings.similarity],
    )
    naive = whole
    if filtered and image_filter is not None:
        mask = valid_disk(settings.patch_size, image_filter.reach + shift)
        naive = partial(whole, mask=mask, image_filter=image_filter)
    return properties.of_loss(
        objective(settings),
        lambda y: (1 - share) * naive(y) + share * whole(y) if filtered and share else naive(y),
        size=settings.patch_size,
        channels=channels,
        filtered=filtered and not share,
    )


def naive_with_shifted(y: Stack, *, shift: int, **options: Any) -> Tensor:
    """The naive loss with shifted representations among the negatives, by their definition.

    Args:
        y: (modalities, batch, channels, height, width).
        shift: in pixels.
        options: of the naive loss.

    Returns:
        The loss, a scalar.
    """
    rolled = [
        image.roll((rows, columns), dims=(-2, -1))
        for rows, columns in ((shift, 0), (-shift, 0), (0, shift), (0, -shift))
        for image in y.flatten(0, 1)
    ]
    return properties.naive_info_nce(y, negatives=torch.stack(rolled), **options)


def turns_exactly(encoder: EncoderSettings) -> bool:
    """Whether an encoder promises that quarter turns of the image turn its representation.

    Example:
        >>> [turns_exactly(EncoderSettings(group=group)) for group in ("C1", "C4", "SO(2)")]
        [False, True, True]
        >>> turns_exactly(EncoderSettings(family="plain"))
        False
    """
    by_construction = encoder.family in ("steerable", "roto_translation")
    return by_construction and parse_group(encoder.group).grid_turns == 4
