"""``equicomir train``: from folders of aligned images to a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from equicomir.commands.options import (
    Flat,
    Folders,
    OptionalPath,
    Output,
    Switch,
    folder_to_write,
    parsed,
)
from equicomir.evaluation.displacements import draw_pairs
from equicomir.evaluation.validation import registration_score
from equicomir.images.listing import list_folders, split
from equicomir.images.pairs import Scene, open_scenes
from equicomir.images.scan import scan
from equicomir.images.sources import read_table
from equicomir.representations import EncoderSettings, Representations
from equicomir.training.checkpoints import ALL
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings
from equicomir.training.settings_file import read_settings

_PAIRS = 10  # a direction, at each validation
_MINUTES = 10.0  # of training where nobody says; experiments, which run many, have less


def _training() -> TrainingSettings:
    """What holds of the learning where neither command line nor file says anything."""
    return TrainingSettings(minutes=_MINUTES)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Learn representations from aligned images, a folder a modality.

    The files of one scene have the same name in every folder, and lie pixel on pixel. A modality
    is called after its folder. A run that was stopped goes on where it was when the same command
    is said again.

    For example:

        equicomir train --images SHG/ HE/ --out model --minutes 10 --curves log

    Attributes:
        images: Folders of images, one a modality; the first is fixed, the second moving.
        table: In place of folders a CSV table, a line a scene, a column a modality; it may have
            columns scene, group, part and mask too.
        masks: Folder of images by the same names, not zero where a scene counts.
        out: Folder of the model, with checkpoints and progress.csv.
        settings: JSON file of settings with the parts "training" and "encoders", or the
            settings.json of a model; what the command line says goes before it.
        tensorboard: Write for TensorBoard into the folder of the model too.
        training: How it is learned.
        encoders: Which encoder a modality gets.
        output: How the command speaks.
    """

    images: Annotated[tuple[Path, ...], Folders] = ()
    table: OptionalPath = None
    masks: OptionalPath = None
    out: Path
    settings: OptionalPath = None
    tensorboard: Switch = False
    output: Annotated[Output, Flat] = field(default_factory=Output)
    training: Annotated[TrainingSettings, Flat] = field(default_factory=_training)
    encoders: Annotated[EncoderSettings, Flat] = field(default_factory=EncoderSettings)


def main(arguments: Sequence[str]) -> int:
    """Train; as :func:`equicomir.cli.main`."""
    options = told(arguments)
    fresh = not options.out.exists()
    folder_to_write(options.out)  # before the scan, which is long where there is much
    try:
        learn, held_out, found = read(options)
        for line in found:
            options.output.say(f"  {line}")
        done = train(
            learn,
            options.encoders,
            options.training,
            validate=validation(held_out, options.training) if held_out else None,
            folder=options.out,
            quiet=options.output.quiet,
            tensorboard=options.tensorboard,
        )
    except ValueError:
        if fresh:
            forget_if_nothing_was_learned(options.out)
        raise
    loss = float(np.mean(done.losses[-20:]))
    modalities = list(done.model.scalings)
    options.output.say(
        f"{options.out}: a model of {', '.join(modalities)}, {len(done.losses)} steps in "
        f"{done.seconds:.0f} s, loss {loss:.3f} nats at the end."
    )
    facts = {
        "model": str(options.out),
        "modalities": modalities,
        "scenes": len(learn),
        "steps": len(done.losses),
        "seconds": done.seconds,
        "loss": loss,
        "validations": done.validations,
    }
    options.output.tell(facts)
    return 0


def forget_if_nothing_was_learned(folder: Path) -> None:
    """Remove the folder of a run that was refused before its first step.

    Its checkpoint would refuse the next run there, whose settings are the corrected ones.
    """
    progress = folder / "progress.csv"
    if progress.exists() and len(progress.read_text(encoding="utf-8").splitlines()) > 1:
        return
    for name in ("progress.csv", *ALL):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def told(arguments: Sequence[str]) -> Train:
    """The options: of the command line, else of the settings file, else the defaults.

    Raises:
        ValueError: the command line or the file is not understood.
    """
    named = _settings_file(arguments)
    default = None
    if named is not None:
        training, encoders = read_settings(named)
        default = Train(out=tyro.MISSING, training=training, encoders=encoders)
    options = parsed(Train, arguments, prog="equicomir train", default=default)
    said = {word.partition("=")[0] for word in arguments}
    if "--minutes" in said and "--steps" not in said:
        # The settings of a model hold the steps that its minutes came to: the minutes would not
        # be heard.
        options = replace(options, training=replace(options.training, steps=None))
    if bool(options.images) == (options.table is not None):
        came = "both" if options.images else "neither"
        raise ValueError(f"--images, --table: expected one of the two, got {came}.")
    if options.masks is not None and options.table is not None:
        raise ValueError("--masks: expected none beside --table, whose column is 'mask', got one.")
    return options


def _settings_file(arguments: Sequence[str]) -> Path | None:
    """What follows ``--settings``, which must be known before the rest is understood."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "--settings":
            told = value if equals else following
            found = Path(told) if told else None
    return found


def read(options: Train) -> tuple[list[Scene], list[Scene], Sequence[str]]:
    """Scenes to learn from, those to validate on, and what a scan found of the files.

    Of folders a fifth of the scenes is left for validation where it is asked for; of a table
    whatever its parts say, and the test part is never read from.

    Raises:
        ValueError: a file or folder is missing, or would spoil training.
    """
    generator = np.random.default_rng(options.training.seed)
    if options.table is not None:
        parts = read_table(options.table, generator=generator)
        held_out = parts.validation if options.training.validations else []
        return parts.train, held_out, parts.found
    folders = [Path(folder).absolute() for folder in options.images]
    listed = list_folders(folders, masks=options.masks)
    if options.training.validations:
        listed = split(listed, test=0, generator=generator)
    found = scan(listed)
    found.refuse()
    learn = open_scenes([s for s in listed if s.part != "validation"], found)
    return learn, open_scenes([s for s in listed if s.part == "validation"], found), found.lines


def validation(
    scenes: Sequence[Scene], settings: TrainingSettings
) -> Callable[[Representations], float]:
    """How well a model registers pairs of some scenes, turned by any angle.

    Args:
        scenes: of the validation part.
        settings: whose seed draws the pairs, as large as the patches.

    Returns:
        A function of a model: the greater, the better.

    Raises:
        ValueError: no scene has room for a pair.
    """
    fixed, moving, *_ = scenes[0].images
    pairs = draw_pairs(
        scenes,
        (fixed, moving),
        settings.patch_size,
        _PAIRS,
        levels=["any"],
        generator=np.random.default_rng(settings.seed),
    )

    def score(model: Representations) -> float:
        with torch.no_grad():
            return registration_score(model.comparable, pairs, scenes)[1]

    return score
