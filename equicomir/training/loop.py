"""The training loop, on Lightning Fabric: one process or many, broken off and gone on with."""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from lightning_fabric import Fabric

from equicomir.images.pairs import Scene
from equicomir.representations import EncoderSettings, Representations
from equicomir.training.run import Run, Trained, Validate
from equicomir.training.settings import Precision, TrainingSettings
from equicomir.training.start import Loss, Penalty
from equicomir.training.watching import Watch

__all__ = ["Trained", "train"]


def train(
    scenes: Sequence[Scene],
    encoder: EncoderSettings,
    settings: TrainingSettings,
    *,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    validate: Validate | None = None,
    initial: Representations | None = None,
    folder: Path | None = None,
    fabric: Fabric | None = None,
    label: str = "training",
    quiet: bool = False,
    tensorboard: bool = False,
) -> Trained:
    """Learn representations from aligned scenes.

    Args:
        scenes: the training part, in the instruments' own units.
        encoder: which encoder each modality gets.
        settings: of the run; the same settings (with ``steps``) on the same machine give the
            same weights, bit for bit on a CPU.
        loss: of the representations (modalities, batch, channels, size, size) in the scene's own
            frame; :func:`objective` of the settings if None. Where it learns (critics), it is a
            module, and its parameters are trained too.
        penalty: of the representations and the scaled patches they were made of, in the frame in
            which the encoders saw them; added to the loss. That of the settings if None.
        validate: asked ``settings.validations`` times; the model it liked best is given back.
        initial: a model of the same encoders to begin from, such as one trained on phantoms;
            only its weights are taken.
        folder: gets checkpoints, ``progress.csv`` and at the end the model. A run that was
            broken off there goes on as if it had not been. Nothing is written if None.
        fabric: where to run: launched, of any number of processes, which share each batch. If
            None, what ``fabric run --devices N script.py`` (with the package click) has set up,
            else one process, on a GPU where there is one. (A launcher that spawns takes
            settings, which are frozen, by ``functools.partial`` alone.)
        label: before the progress line.
        quiet: no progress line.
        tensorboard: write for it into the folder too.

    Returns:
        The model in eval mode, with the settings that were run.

    Raises:
        ValueError: a scene is smaller than a patch, a patch's size is not valid for the encoder
            or too small for the filter, the batch cannot be shared, the loss stopped being
            finite, a score is no number, or the folder holds another run.
        OSError: the folder cannot be written.
        KeyboardInterrupt: stopped by Ctrl-C, after a checkpoint was written.
    """
    if not scenes:
        raise ValueError("scenes: expected at least one to learn from, got none.")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = fabric or _own_fabric(settings.precision)
    if settings.batch % fabric.world_size:
        raise ValueError(
            f"batch: expected a multiple of the {fabric.world_size} processes, got "
            f"{settings.batch}."
        )
    with torch.random.fork_rng():
        run = Run(scenes, encoder, settings, loss, penalty, initial, folder, fabric)
        seen = fabric.is_global_zero  # by a person: one process of all
        watch = Watch(
            folder if seen else None,
            len(run.losses),
            settings.batch,
            before=run.before,
            told=run.progress,
            label=label,
            quiet=quiet or not seen,
            tensorboard=tensorboard and seen,
        )
        with watch, _interrupts() as interrupted:
            run.go(watch, validate, interrupted)
    return run.end()


def _own_fabric(precision: Precision) -> Fabric:
    """One process, on a GPU where there is one; or what ``fabric run`` has set up for a script."""
    if os.environ.get("LT_CLI_USED"):  # it has started the processes, and knows the options
        return Fabric()
    fabric = Fabric(devices=1, precision=precision)
    fabric.launch()
    return fabric


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a step is finished first; the second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
