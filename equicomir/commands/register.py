"""``equicomir register``: where a moving image lies in a fixed one, told and written."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

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
from equicomir.commands.page import PAGE, Shown, write_page
from equicomir.commands.points import read_points
from equicomir.commands.register_batch import INDEX, TABLE, pairs_of, register_all
from equicomir.commands.registered import RESULT, Found, write_found
from equicomir.commands.resampled import Picture, on_pixels_of, read_picture, to_own_pixels
from equicomir.images.files import open_image
from equicomir.images.listing import files_in
from equicomir.registering import Transform, aligned, check_transform, compared
from equicomir.registration import information, search
from equicomir.registration.alignment import Alignment
from equicomir.registration.evidence import Register
from equicomir.registration.verdict import read_calibration
from equicomir.representations import Representations, load
from equicomir.shapes import Array, ArrayMask

UNTRUSTED = 4
_REGISTER: dict[str, Register] = {"search": search.register, "information": information.register}


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Find how a moving image lies in a fixed one, at any angle, and bring it there.

    Writes into a new folder: report.html, a page to look at; transform.json (moving_to_fixed, a
    3 x 3 matrix over (row, column, 1) with pixel centres at whole numbers; score, confidence,
    whether it is to be trusted), transform.tfm for ITK and elastix, moving_registered.tif on the
    grid of the fixed image, and points_registered.csv or .geojson where points are given. Where
    the result is not to be trusted all is written and the exit status is 4; where nothing was
    found, nothing is written.

    Two folders are registered pair after pair, matched by name, each pair into a folder of its own;
    pairs that stand there are not registered again. pairs.csv and index.html say what became of
    all; the exit status is 0 if all are trusted.

    For example:

        equicomir register model fixed.tif moving.tif --out registered

        equicomir register fixed.tif moving.tif --method information --out found

        equicomir register model SHG/ HE/ --out registered

    Attributes:
        files: A model's folder, the fixed and the moving image, or two folders of them; without
            the model for the method information.
        out: Folder to write, new or empty.
        method: "search" through the model's representations, or "information", mutual
            information of the images as they are, which needs no model.
        fixed_modality: Which of the model's modalities the fixed image is; its first if not said.
        moving_modality: Likewise of the moving image; the model's second if not said.
        fixed_mask: Image that is not zero where the fixed image counts, or a folder of such.
        moving_mask: Likewise of the moving image.
        transform: What is found: rotation and translation; with "similarity" or "affine" also
            scale or shear, by elastix from there; with "bspline" the deformation too, in
            displacement.mha.
        points: Points of the moving image to carry along: a CSV table with columns row and column,
            in pixels, or GeoJSON as QuPath writes it.
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
    transform: Transform = "rigid"
    points: OptionalPath = None
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Register; as :func:`equicomir.cli.main`."""
    options = parsed(RegisterOptions, arguments, prog="equicomir register")
    model, names, (fixed, moving) = opened(options)
    if fixed.is_dir() or moving.is_dir():
        return _all(options, model, names, fixed, moving)
    called = ["equicomir", "register", *arguments]
    alignment, facts = register_pair(options, model, names, fixed, moving, called)
    if alignment.failure:
        reason = alignment.failure.rstrip(".")
        return _untrusted(f"expected an alignment, got none, and nothing is written: {reason}.")
    options.output.say(
        f"{options.out}: score {alignment.score:.3f}, confidence {alignment.confidence:.2f}, "
        f"{'trusted' if alignment.trusted else 'NOT trusted'}."
    )
    options.output.tell(facts)
    if alignment.trusted:
        return 0
    return _untrusted(
        f"{options.out}: expected a registration that can be trusted, got a confidence of "
        f"{alignment.confidence:.2f}; look at {PAGE} before you use it."
    )


def _all(
    options: RegisterOptions,
    model: Representations | None,
    names: tuple[str | None, str | None],
    fixed: Path,
    moving: Path,
) -> int:
    """Two folders: pair after pair, each as if it were called alone."""
    if options.points is not None:
        raise ValueError("--points: expected one pair of images, got folders; leave it out.")
    pairs = pairs_of(fixed, moving)
    folder_to_write(options.out)

    def one(first: Path, second: Path, folder: Path) -> tuple[Alignment, dict[str, Any]]:
        alone = replace(
            options,
            files=(*options.files[:-2], first, second),
            out=folder,
            output=replace(options.output, quiet=True),
            fixed_mask=_mask_of("--fixed-mask", folder.name, options.fixed_mask),
            moving_mask=_mask_of("--moving-mask", folder.name, options.moving_mask),
        )
        return register_pair(alone, model, names, first, second, _called(alone))

    lines = register_all(pairs, options.out, one, options.output)
    good = sum(line.outcome == "trusted" for line in lines)
    options.output.say(f"{options.out / INDEX}: {good} of {len(lines)} pairs are trusted.")
    options.output.tell({"pairs": [asdict(line) for line in lines]})
    if good == len(lines):
        return 0
    return _untrusted(
        f"{options.out}: expected {len(lines)} registrations that can be trusted, got {good}; "
        f"{TABLE} says why."
    )


def _mask_of(option: str, scene: str, folder: Path | None) -> Path | None:
    """The mask of one scene, of a folder of masks."""
    if folder is None:
        return None
    found = files_in(folder)
    if scene not in found:
        raise ValueError(f"{option}: expected a mask {scene} in {folder}, found none.")
    return found[scene]


def _called(alone: RegisterOptions) -> list[str]:
    """The command that registers one pair of many alone."""
    words = ["equicomir", "register", *map(str, alone.files), "--transform", alone.transform]
    for name in ("out", "method", "fixed_modality", "moving_modality", "fixed_mask", "moving_mask"):
        value = getattr(alone, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def register_pair(
    options: RegisterOptions,
    model: Representations | None,
    names: tuple[str | None, str | None],
    fixed_path: Path,
    moving_path: Path,
    called: list[str],
) -> tuple[Alignment, dict[str, Any]]:
    """Register one pair and write what was found into the options' folder.

    Args:
        options: of the command.
        model: that encodes; None for raw images.
        names: modalities of the fixed and of the moving image; None for a raw one.
        fixed_path: of the image.
        moving_path: likewise.
        called: the command, as it is written into the results.

    Returns:
        The alignment, and what was written of it: nothing where it failed.

    Raises:
        ValueError: a file is no image of its modality, or damaged; it is named.
    """
    fixed_file, moving_file = (
        open_image(path)
        if model is None or name is None
        else open_for(model, name, path, option=f"--{role}-modality")
        for role, name, path in zip(
            ("fixed", "moving"), names, (fixed_path, moving_path), strict=True
        )
    )
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
    method = _REGISTER[options.method]
    with options.output.progress("registering", None):
        alignment = aligned(
            method,
            looked_at[0][0],
            looked_at[1][0],
            fixed_mask=looked_at[0][1],
            moving_mask=looked_at[1][1],
            transform=options.transform,
        )
    if alignment.failure:
        return alignment, {}
    with options.output.progress("drawing", None):
        shown = Shown(
            alignment=alignment,
            calibration=read_calibration(method),
            files=(fixed_file, moving_file),
            pictures=(fixed, seen),
            representations=None if model is None else (looked_at[0][0], looked_at[1][0]),
            modalities=names,
            method=options.method,
            transform=options.transform,
            command=called,
        )
        write_page(options.out / PAGE, shown)
    alignment = to_own_pixels(alignment, fixed_file, moving_file, moving)
    found = Found(alignment, fixed_file, moving_file, names, options.method, options.transform)
    with options.output.progress("writing", fixed.size[0]) as advance:
        return alignment, write_found(options.out, found, moving, points, advance=advance)


def _untrusted(sentence: str) -> int:
    print(f"equicomir register: {' '.join(sentence.split())}", file=sys.stderr)
    return UNTRUSTED


def opened(
    options: RegisterOptions,
) -> tuple[Representations | None, tuple[str | None, str | None], tuple[Path, Path]]:
    """The model, the modalities and the two images, or folders of them, that the options name.

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
    check_transform(options.transform)  # before anything long
    fixed, moving = options.files[-2:]
    said = (options.fixed_modality, options.moving_modality)
    if options.method == "information":
        return None, said, (fixed, moving)
    model = load(options.files[0])
    first, second, *_ = [*model.scalings, *model.scalings]  # one alone is both
    names = (said[0] or first, said[1] or second)
    for name in names:
        model.encoder(name)  # known, or refused
    return model, names, (fixed, moving)


def looks(
    model: Representations | None, modality: str | None, picture: Picture, output: Output
) -> tuple[Array, ArrayMask]:
    """What is registered of an image, (channels, height, width), and where it is defined.

    Args:
        model: that encodes; None for raw images.
        modality: of the image; None for a raw one.
        picture: the image and where it is defined.
        output: where the bar is drawn.

    Returns:
        Float (channels, height, width), and boolean (height, width).
    """
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
    return compared(model, into), mask
