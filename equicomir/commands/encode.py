"""``equicomir encode``: the representation of one image, of any size, as a file."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tifffile
import tyro

from equicomir import tiles
from equicomir.commands.options import Flat, Model, Output, folder_to_write, parsed
from equicomir.images.files import ImageFile, open_image
from equicomir.representations import Representations, load
from equicomir.shapes import Array, Image, Images, Mask
from equicomir.tiles import Span

_ENDINGS = (".npy", ".tif", ".tiff")
#: Rows and columns of an image, and which of its pixels are defined.
ReadMasked = Callable[[Span, Span], tuple[Image, Mask]]


@dataclass(frozen=True, kw_only=True)
class Encode:
    """The representation of one image, of any size, window after window.

    For example:

        equicomir encode model slide.ome.tif --modality HE --out representation.tif

    Attributes:
        model: Folder of a model, as "equicomir train" writes it.
        image: TIFF, OME-TIFF, PNG, JPEG or NPY.
        modality: Which of the model's modalities the image is.
        out: File to write, .tif (OME-TIFF with the pixel size of the image) or .npy, of float32
            (channels, height, width), NaN where the image is not defined.
        tile: Height and width of a window, in pixels; memory grows as its square.
        output: How the command speaks.
    """

    model: Model
    image: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGE")]
    modality: str
    out: Path
    tile: int | None = None
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """Encode; as :func:`equicomir.cli.main`.

    Raises:
        ValueError: an option or a file will not do; it is named.
    """
    options = parsed(Encode, arguments, prog="equicomir encode")
    if options.out.suffix.lower() not in _ENDINGS:
        raise ValueError(
            f"--out: expected a name that ends in {', '.join(_ENDINGS)}, got {options.out.name}."
        )
    model = load(options.model)
    image = open_for(model, options.modality, options.image)
    folder_to_write(options.out.absolute().parent)
    size = (image.shape[1], image.shape[2])
    # Nobody finds half a representation: it gets its name when it is whole.
    unfinished = options.out.with_name(f".{options.out.stem}.part{options.out.suffix}")
    try:
        shape = (model.settings.representation_channels, *size)
        into = _empty(unfinished, shape, image.pixel_size_micrometres)
        with options.output.progress("encoding", size[0] * size[1]) as advance:
            encode_into(
                model,
                options.modality,
                lambda rows, columns: image.read_masked(rows=rows, columns=columns),
                into,
                advance=advance,
                tile=options.tile,
            )
        into.flush()
        del into
        unfinished.replace(options.out)
    finally:
        unfinished.unlink(missing_ok=True)
    for note in image.notes:
        options.output.say(f"  {image.path}: {note}")
    options.output.say(f"{options.out}: {' x '.join(map(str, shape))}, float32.")
    options.output.tell({"representation": str(options.out), "shape": shape})
    return 0


def open_for(
    model: Representations, modality: str, path: Path, *, option: str = "--modality"
) -> ImageFile:
    """Look into an image file that is to be encoded.

    Args:
        model: of the modality.
        modality: that somebody said the image is.
        path: of the image.
        option: by which another modality is said, for errors.

    Returns:
        The file, of which nothing has been read yet.

    Raises:
        ValueError: the model does not know the modality, or the file is no image of it.
    """
    model.encoder(modality)
    image = open_image(path)
    expected, came = len(model.scalings[modality].low), image.shape[0]
    if came != expected:
        alike = [shlex.quote(m) for m, s in model.scalings.items() if len(s.low) == came]
        others = f", or say {option} {' or '.join(alike)}" if alike else ""
        raise ValueError(
            f"{path}: expected {expected} channel{'s'[: expected > 1]}, as {modality!r} had in "
            f"training, got {came}; choose an image of that kind{others}."
        )
    return image


def encode_into(
    model: Representations,
    modality: str,
    read_masked: ReadMasked,
    into: Array,
    *,
    advance: Callable[[int], object] = lambda pixels: None,
    tile: int | None = None,
) -> None:
    """Encode an image that is read by windows and need not be defined everywhere.

    Args:
        model: of the modality.
        modality: whose encoder to use.
        read_masked: gives any part of the image, (channels, rows, columns), and its mask.
        into: (representation channels, height, width), floating; gets NaN where the image is
            not defined.
        advance: is told of every piece how many pixels it has.
        tile: as for :func:`equicomir.tiles.encode`.
    """
    height, width = into.shape[1:]
    seen: dict[str, Any] = {}

    def read(rows: Span, columns: Span) -> Images:
        pixels, seen["mask"] = read_masked(rows, columns)
        seen["corner"] = (rows[0], columns[0])
        return pixels[None]

    if model.settings.family == "tiramisu":  # looks too far for windows
        whole = model.encode(modality, read((0, height), (0, width)))
        found = iter([(slice(0, height), slice(0, width), whole)])
    else:
        found = tiles.pieces(model, modality, read, (height, width), tile=tile)
    for rows, columns, piece in found:
        top, left = seen["corner"]
        inside = seen["mask"][
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        into[:, rows, columns] = np.where(inside.numpy(), piece[0].numpy(), np.nan)
        advance((rows.stop - rows.start) * (columns.stop - columns.start))


def _empty(path: Path, shape: tuple[int, int, int], pixel_size: tuple[float, float] | None) -> Any:
    """An array of float32 that is a file."""
    if path.suffix.lower() == ".npy":
        return np.lib.format.open_memmap(path, "w+", np.float32, shape)  # type: ignore[no-untyped-call]
    return tifffile.memmap(
        path,
        shape=shape,
        dtype=np.float32,
        ome=True,
        photometric="minisblack",
        metadata={"axes": "CYX", **physical(pixel_size)},
    )


def physical(pixel_size_micrometres: tuple[float, float] | None) -> dict[str, Any]:
    """A pixel size (row, column) as OME names it; empty where nobody knows it.

    Example:
        >>> physical((0.5, 0.25))["PhysicalSizeY"]
        0.5
    """
    if pixel_size_micrometres is None:
        return {}
    row, column = pixel_size_micrometres
    unit = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    return {"PhysicalSizeX": column, "PhysicalSizeY": row, **unit}
