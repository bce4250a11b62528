"""What a run begins with: its untrained model and its objective."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from equicomir.filters import high_pass, reach
from equicomir.images.intensities import percentile_scaling
from equicomir.images.pairs import Scene, sample_pixels
from equicomir.losses.contrastive import info_nce
from equicomir.losses.rotated_pairs import valid_disk
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Stack
from equicomir.training.settings import TrainingSettings

#: From representations in the scene's own frame to a scalar.
Loss = Callable[[Stack], torch.Tensor]


def objective(settings: TrainingSettings) -> Loss:
    """The loss of a run: from representations in the scene's own frame to a scalar.

    It is what training minimises and what the gate checks: InfoNCE in the valid disk, of
    high-passed representations where the settings say so.

    Raises:
        ValueError: the patches are too small for the filter.
    """
    cutoff = settings.high_pass_cutoff
    border = 0 if cutoff is None else reach(cutoff)
    return partial(
        info_nce,
        temperature=settings.temperature,
        mask=valid_disk(settings.patch_size, border),
        image_filter=None if cutoff is None else partial(high_pass, cutoff=cutoff),
    )


def new_model(
    scenes: Sequence[Scene], encoder: EncoderSettings, settings: TrainingSettings
) -> Representations:
    """The untrained model of a run: scaling from the training images, weights from the seed.

    Raises:
        ValueError: curves for another number of modalities, or no such encoder.
    """
    modalities, curves = list(scenes[0].images), settings.curves
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
    generator = torch.Generator().manual_seed(settings.seed)
    return Representations(scalings, encoder, generator=generator)
