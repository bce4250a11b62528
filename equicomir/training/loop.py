"""The training loop, on Lightning Fabric."""

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from equicomir.filters import high_pass, reach
from equicomir.images.batches import Batches, in_order
from equicomir.images.intensities import percentile_scaling
from equicomir.images.pairs import Scene, sample_pixels
from equicomir.images.patches import patch_places
from equicomir.losses.contrastive import info_nce
from equicomir.losses.rotated_pairs import turn_back, valid_disk
from equicomir.representations import EncoderSettings, Representations
from equicomir.shapes import Stack
from equicomir.training.settings import TrainingSettings

_MEASURED_STEPS = 10  # at the schedule's first rate; their time fixes the number of steps
_WARM_UP_STEPS = 2  # not timed: the first steps also build caches


#: From representations in the scene's own frame to a scalar.
Loss = Callable[[Stack], torch.Tensor]


@dataclass(frozen=True)
class Trained:
    """What training gives back.

    Attributes:
        model: in eval mode.
        settings: as given, with the number of steps that was run.
        losses: InfoNCE, one a step, in nats.
        seconds: wall time.
    """

    model: Representations
    settings: TrainingSettings
    losses: list[float]
    seconds: float


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
    """The untrained model of a run: scaling from the training images, weights from the seed."""
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


def train(
    scenes: Sequence[Scene],
    encoder: EncoderSettings,
    settings: TrainingSettings,
    *,
    loss: Loss | None = None,
    label: str = "training",
    quiet: bool = False,
) -> Trained:
    """Learn representations from aligned scenes.

    Args:
        scenes: the training part, in the instruments' own units.
        encoder: which encoder each modality gets.
        settings: of the run; the same settings (with ``steps``) on the same machine give the
            same weights.
        loss: of the representations (modalities, batch, channels, size, size) in the scene's own
            frame; :func:`objective` of the settings if None. Where it learns (critics), it is a
            module, and its parameters are trained too.
        label: before the progress bar.
        quiet: no progress bar.

    Returns:
        The model in eval mode, with the settings that were run.

    Raises:
        ValueError: a scene is smaller than a patch, a patch's size is not valid for the encoder
            or too small for the filter, or the loss stopped being finite.
    """
    begun = time.perf_counter()
    if not scenes:
        raise ValueError("scenes: expected at least one to learn from, got none.")
    model = new_model(scenes, encoder, settings)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(accelerator="cpu", devices=1)
    learned = [*model.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    optimiser = torch.optim.Adam(learned, lr=settings.learning_rate / 25)
    network, optimiser = fabric.setup(model, optimiser)
    loss_of = objective(settings) if loss is None else loss
    loss_of_a_batch = _batches(scenes, model, network, settings, loss_of)
    schedule: torch.optim.lr_scheduler.OneCycleLR | None = None
    total = settings.steps
    losses: list[float] = []
    measured_from = begun
    with _progress(quiet) as progress:
        task = progress.add_task(label, total=None, loss="...")
        while total is None or len(losses) < total:
            of_batch = loss_of_a_batch()
            optimiser.zero_grad()
            fabric.backward(of_batch)
            optimiser.step()
            losses.append(of_batch.item())
            if not math.isfinite(losses[-1]):
                raise ValueError(f"step {len(losses)}: expected a finite loss, got {losses[-1]}.")
            if schedule is not None:
                schedule.step()
            if len(losses) == _WARM_UP_STEPS:
                measured_from = time.perf_counter()
            if len(losses) == _MEASURED_STEPS:
                now = time.perf_counter()
                each = (now - measured_from) / (_MEASURED_STEPS - _WARM_UP_STEPS)
                left = settings.minutes * 60 - (now - begun)
                total = total or _MEASURED_STEPS + max(1, round(left / each))
                if total > _MEASURED_STEPS:
                    schedule = torch.optim.lr_scheduler.OneCycleLR(
                        optimiser.optimizer,
                        settings.learning_rate,
                        total_steps=total - _MEASURED_STEPS + 1,
                    )
            progress.update(task, advance=1, total=total, loss=f"{losses[-1]:.3f}")
    seconds = time.perf_counter() - begun
    return Trained(model.eval(), replace(settings, steps=len(losses)), losses, seconds)


def _batches(
    scenes: Sequence[Scene],
    model: Representations,
    network: Callable[[list[torch.Tensor]], Stack],
    settings: TrainingSettings,
    loss_of: Loss,
) -> Callable[[], torch.Tensor]:
    """A function that draws the next batch and gives the loss of what the network makes of it."""
    batches = Batches(
        scenes,
        model.scalings,
        patch_places(scenes, settings.patch_size),
        settings.batch,
        settings.seed,
        settings.turns,
        settings.scenes_at_once,
        settings.augmentation,
    )
    ordered = in_order(batches, 0, settings.steps, workers=settings.workers)

    def loss_of_a_batch() -> torch.Tensor:
        draw, patches = next(ordered)
        return loss_of(turn_back(network(patches), draw.degrees))

    return loss_of_a_batch


def _progress(quiet: bool) -> Progress:
    """A bar with the last loss and the time left, on the error stream."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(file=sys.stderr), disable=quiet)
