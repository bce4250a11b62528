"""What a run begins with: its untrained model and its objective."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from equicomir.filters import Filter, high_pass_of
from equicomir.images.intensities import percentile_scaling
from equicomir.images.pairs import Scene, sample_pixels
from equicomir.losses import similarity
from equicomir.losses.contrastive import info_nce
from equicomir.losses.hard_negatives import shifted_around
from equicomir.losses.rotated_pairs import valid_disk
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Images, Stack
from equicomir.training.settings import TrainingSettings

#: From representations in the scene's own frame to a scalar.
Loss = Callable[[Stack], torch.Tensor]
#: From representations, and what they were made of, as the encoders saw it, to a scalar.
Penalty = Callable[[Stack, Sequence[Images]], torch.Tensor]


def filter_of(settings: TrainingSettings) -> Filter | None:
    """The high-pass before the similarity, if there is one.

    Raises:
        ValueError: the cut-off is outside its range.
    """
    if settings.high_pass_cutoff is None:
        return None
    return high_pass_of(settings.high_pass_family, settings.high_pass_cutoff)


def objective(settings: TrainingSettings) -> Loss:
    """The loss of a run: from representations in the scene's own frame to a scalar.

    It is what training minimises and what the gate checks: InfoNCE in the valid disk, of
    high-passed representations where the settings say so, of unfiltered ones, or of both.

    Raises:
        ValueError: the patches are too small for the filter.
    """
    image_filter, share, shift = filter_of(settings), settings.unfiltered, settings.shift_pixels
    whole = partial(
        info_nce if shift == 0 else partial(with_shifted, shift),
        temperature=settings.temperature,
        mask=valid_disk(settings.patch_size, shift),
        similarity=getattr(similarity, settings.similarity),
    )
    if image_filter is None or share == 1:
        return whole
    detail = partial(
        whole,
        mask=valid_disk(settings.patch_size, image_filter.reach + shift),
        image_filter=image_filter,
    )
    return partial(both, detail, whole, share) if share else detail


def coarse(settings: TrainingSettings) -> TrainingSettings:
    """The settings whose objective the first steps have, where ``coarse_first`` is above 0."""
    return replace(settings, high_pass_cutoff=None, coarse_first=0.0, unfiltered=0.0)


def penalty_of(settings: TrainingSettings) -> Penalty | None:
    """What the settings add to the loss, if anything: of the disk that is valid in every frame."""
    if settings.penalties is None:
        return None
    return partial(settings.penalties.of, mask=valid_disk(settings.patch_size))


def with_shifted(pixels: int, representations: Stack, **options: Any) -> torch.Tensor:
    """InfoNCE whose negatives are other scenes, and all representations shifted.

    Args:
        pixels: of the shift.
        representations: (modalities, batch, channels, height, width).
        options: of :func:`equicomir.losses.contrastive.info_nce`.

    Returns:
        The loss, a scalar.
    """
    negatives = shifted_around(representations, pixels)
    return info_nce(representations, negatives=negatives, **options)


def both(detail: Loss, whole: Loss, share: float, representations: Stack) -> torch.Tensor:
    """Two losses, of which the second has a share.

    Args:
        detail: one loss.
        whole: the other.
        share: of the second, in [0, 1].
        representations: of both.

    Returns:
        The loss, a scalar.
    """
    return (1 - share) * detail(representations) + share * whole(representations)


def new_model(
    scenes: Sequence[Scene], encoder: EncoderSettings, settings: TrainingSettings
) -> Representations:
    """The untrained model of a run: scaling from the training images, weights from the seed, and
    the high-pass that is set before its similarity.

    Its modalities are those of the first scene, and what others have beside them.

    Args:
        scenes: to learn from.
        encoder: of every modality.
        settings: of the training.

    Returns:
        The model.

    Raises:
        ValueError: curves for another number of modalities, or no such encoder.
    """
    modalities, curves = list(dict.fromkeys(m for s in scenes for m in s.images)), settings.curves
    if len(curves) == 1:
        curves = curves * len(modalities)
    if len(curves) != len(modalities):
        raise ValueError(
            f"curves: expected one, or one for each of {modalities}, got {settings.curves}."
        )
    scalings = {
        modality: percentile_scaling(sample_pixels(scenes, modality), curve=curve)
        for modality, curve in zip(modalities, curves, strict=True)
    }
    # What the loss never sees of representations, nobody is to compare. Where a part of it sees
    # all of them, all of them count.
    high_pass = None
    if settings.high_pass_cutoff is not None and settings.unfiltered == 0:
        high_pass = (settings.high_pass_family, settings.high_pass_cutoff)
    generator = torch.Generator().manual_seed(settings.seed)
    return Representations(scalings, encoder, high_pass=high_pass, generator=generator)
