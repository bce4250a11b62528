"""``equicomir register``: where a moving image lies in a fixed one, told and written."""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from equicomir.commands.encode import encode_into, open_for
from equicomir.commands.options import (
    Flat,
    OptionalName,
    OptionalPath,
    Output,
    folder_to_write,
    parsed,
)
from equicomir.commands.registered import RESULT, Found, read_points, write_found
from equicomir.commands.resampled import Picture, on_pixels_of, read_picture, to_own_pixels
from equicomir.images.files import ImageFile, open_image
from equicomir.registration import elastix, information, search
from equicomir.registration.alignment import Alignment
from equicomir.registration.evidence import Register
from equicomir.registration.verdict import judged, read_calibration
from equicomir.representations import Representations, load
from equicomir.shapes import Array, ArrayMask

UNTRUSTED = 4
_REGISTER: dict[str, Register] = {"search": search.register, "information": information.register}


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Find how a moving image lies in a fixed one, at any angle, and bring it there.

    Writes into a new folder: transform.json (moving_to_fixed, a 3 x 3 matrix over (row, column,
    1) with pixel centres at whole numbers; score, confidence, whether it is to be trusted),
    transform.tfm for ITK and elastix, moving_registered.tif on the grid of the fixed image, and
    points_registered.csv where points are given. Where the result is not to be trusted all is
    written and the exit status is 4; where nothing was found, nothing is written.

    For example:

        equicomir register model fixed.tif moving.tif --out registered

        equicomir register fixed.tif moving.tif --method information --out found

    Attributes:
        files: A model's folder, the fixed and the moving image; without the model for the
            method information.
        out: Folder to write, new or empty.
        method: "search" through the model's representations, or "information", mutual
            information of the images as they are, which needs no model.
        fixed_modality: Which of the model's modalities the fixed image is; its first if not said.
        moving_modality: Likewise of the moving image; the model's second if not said.
        fixed_mask: Image that is not zero where the fixed image counts.
        moving_mask: Image that is not zero where the moving image counts.
        transform: What is found: rotation and translation; with "similarity" or "affine" also
            scale or shear, by elastix from there; with "bspline" the deformation too, in
            displacement.mha.
        points: CSV table of points of the moving image, with columns row and column in pixels.
        output: How the command speaks.
    """

    files: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="[MODEL] FIXED MOVING", help_behavior_hint=""),
    ]
    out: Path
    method: Literal["search", "information"] = "search"
    fixed_modality: OptionalName = None
    moving_modality: OptionalName = None
    fixed_mask: OptionalPath = None
    moving_mask: OptionalPath = None
    transform: Literal["rigid", "similarity", "affine", "bspline"] = "rigid"
    points: OptionalPath = None
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Register; as :func:`equicomir.cli.main`."""
    options = parsed(RegisterOptions, arguments, prog="equicomir register")
    model, names, (fixed_file, moving_file) = opened(options)
    points = None if options.points is None else read_points(options.points)
    fixed = read_picture(fixed_file, options.fixed_mask)
    moving = read_picture(moving_file, options.moving_mask)
    folder_to_write(options.out, holds=RESULT)
    for file in (fixed_file, moving_file):
        for note in file.notes:
            options.output.say(f"  {file.path}: {note}")
    seen = on_pixels_of(fixed_file, moving_file, moving)
    if seen is not moving:
        options.output.say("  the pixel sizes differ: moving is seen with pixels as fixed has them")
    looked_at = [
        looks(model, name, picture, options.output)
        for name, picture in zip(names, (fixed, seen), strict=True)
    ]
    with options.output.progress("registering", None):
        alignment = aligned(options, *looked_at)
    if alignment.failure:
        reason = alignment.failure.rstrip(".")
        return _untrusted(f"expected an alignment, got none, and nothing is written: {reason}.")
    alignment = to_own_pixels(alignment, fixed_file, moving_file, moving)
    found = Found(alignment, fixed_file, moving_file, names, options.method, options.transform)
    with options.output.progress("writing", fixed.size[0]) as advance:
        facts = write_found(options.out, found, moving, points, advance=advance)
    # A page to look at, report.html, is to be written here, of `fixed`, `moving`, `looked_at`
    # and `alignment`, by equicomir.report.
    options.output.say(
        f"{options.out}: score {alignment.score:.3f}, confidence {alignment.confidence:.2f}, "
        f"{'trusted' if alignment.trusted else 'NOT trusted'}."
    )
    options.output.tell(facts)
    if alignment.trusted:
        return 0
    return _untrusted(
        f"{options.out}: expected a registration that can be trusted, got a confidence of "
        f"{alignment.confidence:.2f}; look at moving_registered.tif before you use it."
    )


def _untrusted(sentence: str) -> int:
    print(f"equicomir register: {' '.join(sentence.split())}", file=sys.stderr)
    return UNTRUSTED


def opened(
    options: RegisterOptions,
) -> tuple[Representations | None, tuple[str | None, str | None], tuple[ImageFile, ImageFile]]:
    """The model, the modalities and the two image files that the options name.

    Raises:
        ValueError: there are too many or too few, or one is not what it should be.
    """
    wanted = 2 if options.method == "information" else 3
    if len(options.files) != wanted:
        expected = "FIXED and MOVING" if wanted == 2 else "MODEL, FIXED and MOVING"
        other = "" if wanted == 2 else ", or --method information, which needs no model"
        raise ValueError(
            f"expected {wanted} paths, {expected}{other}, got {len(options.files)}: "
            f"{' '.join(map(str, options.files)) or 'none'}."
        )
    if options.transform != "rigid" and importlib.util.find_spec("itk") is None:
        raise ValueError(
            f"--transform {options.transform}: expected the package itk-elastix, found none; "
            f"install equicomir[baselines], or say rigid."
        )
    fixed, moving = options.files[-2:]
    said = (options.fixed_modality, options.moving_modality)
    if options.method == "information":
        return None, said, (open_image(fixed), open_image(moving))
    model = load(options.files[0])
    first, second, *_ = [*model.scalings, *model.scalings]  # one alone is both
    names = (said[0] or first, said[1] or second)
    return model, names, (open_for(model, names[0], fixed), open_for(model, names[1], moving))


def looks(
    model: Representations | None, modality: str | None, picture: Picture, output: Output
) -> tuple[Array, ArrayMask]:
    """What is registered of an image, (channels, height, width), and where it is defined."""
    mask: ArrayMask = picture.mask.numpy()
    if model is None or modality is None:
        return picture.pixels.double().numpy(), mask
    into = np.empty((model.settings.representation_channels, *picture.size), np.float32)
    with output.progress(f"encoding {modality}", mask.size) as advance:
        encode_into(
            model,
            modality,
            lambda rows, columns: (
                picture.pixels[:, slice(*rows), slice(*columns)],
                torch.ones(rows[1] - rows[0], columns[1] - columns[0], dtype=torch.bool),
            ),
            into,
            advance=advance,
        )
    return into.astype(np.float64), mask


def aligned(
    options: RegisterOptions, fixed: tuple[Array, ArrayMask], moving: tuple[Array, ArrayMask]
) -> Alignment:
    """The alignment with its confidence; what elastix adds is trusted as far as its start is."""
    register = _REGISTER[options.method]
    found = judged(
        register,
        fixed[0],
        moving[0],
        calibration=read_calibration(register),
        fixed_mask=fixed[1],
        moving_mask=moving[1],
    )
    if found.failure or options.transform == "rigid":
        return found
    refine = partial(elastix.register, fixed_mask=fixed[1], moving_mask=moving[1])
    # elastix takes the mean of the channels, and wants as many of both.
    images = [image.mean(0, keepdims=True) for image, _ in (fixed, moving)]
    better = refine(
        images[0],
        images[1],
        transform=options.transform,
        initial=found.moving_to_fixed,
        measure="correlation" if options.method == "search" else "mutual_information",
    )
    return replace(better, confidence=found.confidence, trusted=found.trusted)
