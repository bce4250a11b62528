"""``equicomir demo``: the whole path on the picture that is built in, as a user would go it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tifffile

from equicomir.commands import register
from equicomir.commands.options import Flat, Output, folder_to_write, parsed
from equicomir.evaluation.alignment import corner_error
from equicomir.evaluation.displacements import TestPair, cut_pair, draw_pairs
from equicomir.geometry import rotation_degrees
from equicomir.images.sources import Parts, embedded
from equicomir.representations import EncoderSettings
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings

_WIDTH = 128  # of the pair, in pixels
_DRAWN = 5  # of which the pair that is turned most is shown


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The whole path on one picture that is built in: train, register a pair, look.

    Learns from one half of an immunohistochemistry picture, whose two stains stand for two
    modalities, cuts a pair from the other half, turns it, and registers it. The two come from one
    camera: good for seeing the path work, not for claims about two instruments.

    For example:

        equicomir demo --out demo

    Attributes:
        out: Folder to write, new or empty.
        minutes: Of training.
        steps: Of training, in place of the minutes.
        seed: Of the training and of the pair.
        output: How the command speaks.
    """

    out: Path = Path("equicomir_demo")
    minutes: float = 2.0
    steps: int | None = None
    seed: int = 0
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Show the whole path; as :func:`equicomir.cli.main`."""
    options = parsed(Demo, arguments, prog="equicomir demo")
    folder_to_write(options.out, holds="model")
    output, parts = options.output, embedded()
    settings = TrainingSettings(seed=options.seed, minutes=options.minutes, steps=options.steps)
    output.say(f"Training on {' and '.join(parts.modalities)} of one picture.")
    folder = options.out / "model"
    done = train(parts.train, EncoderSettings(), settings, folder=folder, quiet=output.quiet)
    output.say(f"{folder}: {len(done.losses)} steps in {done.seconds:.0f} s.")

    pair = turned_pair(parts, options.seed)
    images = cut_pair(pair, {scene.name: scene for scene in parts.test})
    paths = [options.out / f"{name}.tif" for name in ("fixed", "moving", "moving_mask")]
    for path, image in zip(paths, images, strict=True):
        stored = image.astype(np.uint8 if image.dtype == bool else np.float32)
        tifffile.imwrite(path, stored[0] if stored.ndim == 3 else stored)
    truth = pair.moving_to_fixed()
    output.say(
        f"The moving image is turned by {rotation_degrees(truth):.1f} degrees; nobody is told."
    )
    registered = options.out / "registered"
    words = [str(path) for path in (folder, *paths[:2])]
    words += ["--out", str(registered), "--moving-mask", str(paths[2])]
    words += [f"--{name}" for name in ("quiet", "json") if getattr(output, name)]
    output.say(f"equicomir register {' '.join(words)}")
    status = register.main(words)
    if (registered / "transform.json").exists():
        written = json.loads((registered / "transform.json").read_text(encoding="utf-8"))
        found = np.array(written["moving_to_fixed"])
        output.say(
            f"Found: {rotation_degrees(found):.1f} degrees; the corners of {_WIDTH} pixels lie "
            f"{corner_error(truth, found, _WIDTH):.2f} pixels from where they should."
        )
    return status


def turned_pair(parts: Parts, seed: int) -> TestPair:
    """A pair of the test part whose rotation is seen at a glance.

    Args:
        parts: whose test part.
        seed: of the draw.

    Returns:
        One pair.
    """
    fixed, moving = parts.modalities
    drawn = draw_pairs(
        parts.test,
        (fixed, moving),
        _WIDTH,
        _DRAWN,
        levels=["any"],
        generator=np.random.default_rng(seed),
    )
    first_fixed = [pair for pair in drawn if pair.fixed == fixed]
    return max(first_fixed, key=lambda pair: abs(pair.rotation_degrees))
