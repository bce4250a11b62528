"""What a registration leaves on disk: for a person, for another program, and for tomorrow."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from equicomir.commands.encode import physical
from equicomir.commands.resampled import Picture
from equicomir.geometry import rigid, transform_points, warp_image
from equicomir.images.files import ImageFile
from equicomir.provenance import versions
from equicomir.registration.alignment import Alignment
from equicomir.shapes import Array, ArrayMask, Images, Points
from equicomir.transforms.deformations import (
    displace_points,
    invert_displacement,
    warp_by_displacement,
)
from equicomir.transforms.displacement_files import write_displacement
from equicomir.transforms.files import SavedTransform, write_transform
from equicomir.transforms.itk import write_tfm

#: Written last: a folder that holds it holds all.
RESULT = "transform.json"
REGISTERED = "moving_registered.tif"
_STRIP = 512  # rows that are warped at once
_TABLE = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Found:
    """An alignment and what it is of.

    Attributes:
        alignment: in the pixels of the two files.
        fixed: the file.
        moving: likewise.
        modalities: of fixed and moving, None where nobody said.
        method: that found it.
        transform: the kind that was asked for.
    """

    alignment: Alignment
    fixed: ImageFile
    moving: ImageFile
    modalities: tuple[str | None, str | None]
    method: str
    transform: str


def write_found(
    folder: Path,
    found: Found,
    moving: Picture,
    points: _TABLE | None,
    *,
    advance: Callable[[int], object] = lambda rows: None,
) -> dict[str, Any]:
    """Write all that a registration promises.

    Args:
        folder: which is there.
        found: the alignment and its files.
        moving: the moving image as read.
        points: as :func:`read_points` gives them, or None.
        advance: is told how many rows of the registered image are done.

    Returns:
        What ``transform.json`` holds.

    Raises:
        OSError: something cannot be written.
    """
    alignment = found.alignment
    sizes = _pixel_sizes(found)
    if alignment.displacement is None:
        write_tfm(folder / "transform.tfm", alignment.moving_to_fixed, **sizes)
    else:
        write_displacement(folder / "displacement.mha", alignment.displacement, **sizes)
    overlap = write_registered(folder / REGISTERED, found, moving, advance)
    if points is not None:
        write_points(folder / "points_registered.csv", points, found)
    saved = SavedTransform(
        alignment.moving_to_fixed,
        (found.fixed.shape[1], found.fixed.shape[2]),
        (found.moving.shape[1], found.moving.shape[2]),
        found.fixed.pixel_size_micrometres,
        found.moving.pixel_size_micrometres,
        *found.modalities,
    )
    notes = {
        "fixed": found.fixed.path.name,
        "moving": found.moving.path.name,
        "method": found.method,
        "transform": found.transform,
        "displacement": None if alignment.displacement is None else "displacement.mha",
        "score": alignment.score,
        "confidence": alignment.confidence,
        "trusted": alignment.trusted,
        "evidence": dict(alignment.evidence),
        "overlap": overlap,
        "versions": versions(),
    }
    write_transform(folder / RESULT, saved, notes=notes)
    facts: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return facts


def _pixel_sizes(found: Found) -> dict[str, tuple[float, float]]:
    """Those of both images, or of neither: then a pixel is the unit."""
    fixed, moving = found.fixed.pixel_size_micrometres, found.moving.pixel_size_micrometres
    if fixed is None or moving is None:
        return {}
    return {"fixed_pixel_size_micrometres": fixed, "moving_pixel_size_micrometres": moving}


def write_registered(
    path: Path, found: Found, moving: Picture, advance: Callable[[int], object]
) -> float:
    """Write the moving image on the grid of the fixed one, as it was: channels and bit depth.

    Args:
        path: of the OME-TIFF, which has the pixel size of the fixed image.
        found: the alignment and its files.
        moving: the moving image; what it does not define becomes zero.
        advance: is told how many rows are done.

    Returns:
        The fraction of the fixed image that it covers, in [0, 1].
    """
    channels, (height, width) = len(moving.pixels), found.fixed.shape[1:]
    dtype = np.dtype(np.uint8) if found.moving.dtype == bool else found.moving.dtype
    whole = np.empty((channels, height, width), dtype)
    covered = 0
    # In float64: places in a large image, and values of 16 bit, must not be rounded.
    everything = torch.cat([moving.pixels, moving.mask[None].float()])[None].double()
    firsts = range(0, max(height - 1, 1), _STRIP)  # no row is left alone: it were no displacement
    for first, past in zip(firsts, [*firsts[1:], height], strict=True):
        strip, inside = _strip(found.alignment, everything, first, past, width)
        whole[:, first:past] = _as_stored(strip, dtype)
        covered += int(inside.sum())
        advance(past - first)
    names = list(found.moving.channel_names)
    colour = names[:3] == ["red", "green", "blue"] and channels == 3 and dtype.kind == "u"
    metadata: dict[str, Any] = {"axes": "YXS" if colour else "CYX"}
    metadata |= physical(found.fixed.pixel_size_micrometres)
    if names and not colour:
        metadata["Channel"] = {"Name": names}
    tifffile.imwrite(
        path,
        whole.transpose(1, 2, 0) if colour else whole,
        ome=True,
        photometric="rgb" if colour else "minisblack",
        compression="zlib",
        metadata=metadata,
    )
    return covered / (height * width)


def _strip(
    alignment: Alignment, everything: Images, first: int, past: int, width: int
) -> tuple[Array, ArrayMask]:
    """Some rows of the registered image, and where they are defined.

    Args:
        alignment: of the moving image.
        everything: the moving image, its mask as the last channel.
        first: row of the strip.
        past: its last.
        width: of the fixed image.
    """
    if alignment.displacement is None:
        back = np.linalg.inv(alignment.moving_to_fixed) @ rigid(0, (first, 0))
        warped, inside = warp_image(everything, back, size=(past - first, width))
    else:
        down = np.array([first, 0.0])[:, None, None]
        displacement = alignment.displacement[:, first:past] + down
        warped, inside = warp_by_displacement(everything, displacement)
    inside = inside & (warped[0, -1] > 0.5)
    return torch.where(inside, warped[0, :-1], 0.0).numpy(), inside.numpy()


def _as_stored(values: Array, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Values of the type they had: rounded, and not wrapped round where cubics overshoot."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return values.round().clip(limits.min, limits.max).astype(dtype)


def read_points(path: Path) -> _TABLE:
    """Read a CSV table with columns ``row`` and ``column``, in pixels; others are kept.

    Returns:
        Its columns and its lines.

    Raises:
        ValueError: there is no such table, or a cell is no number: the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"{path}: expected a CSV table of points, got: {reason}.") from error
    lines = [line for line in csv.reader(text.splitlines()) if line]
    columns = [column.strip() for column in lines[0]] if lines else []
    if not {"row", "column"} <= set(columns) or len(set(columns)) < len(columns):
        raise ValueError(
            f"{path}: expected a first line with the columns row and column, in pixels, got "
            f"{', '.join(columns) or 'an empty file'}."
        )
    for number, line in enumerate(lines[1:], start=2):
        try:
            if len(line) != len(columns):
                raise ValueError
            if not np.isfinite(_places(columns, [line])).all():
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{path}: expected a number for row and column, got {','.join(line)!r} in line "
                f"{number}."
            ) from None
    return columns, lines[1:]


def _places(columns: list[str], lines: list[list[str]]) -> Points:
    both = [[float(line[columns.index(name)]) for line in lines] for name in ("row", "column")]
    return np.array(both).T.reshape(-1, 2)


def write_points(path: Path, table: _TABLE, found: Found) -> None:
    """Write points of the moving image where they lie in the fixed one."""
    columns, lines = table
    places = _places(columns, lines)
    displacement = found.alignment.displacement
    if displacement is None:
        moved = transform_points(found.alignment.moving_to_fixed, places)
    else:
        size = (found.moving.shape[1], found.moving.shape[2])
        moved = displace_points(invert_displacement(displacement, size)[0], places)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for line, (row, column) in zip(lines, moved.tolist(), strict=True):
            at = {"row": repr(round(row, 4)), "column": repr(round(column, 4))}
            writer.writerow([at.get(name, cell) for name, cell in zip(columns, line, strict=True)])
