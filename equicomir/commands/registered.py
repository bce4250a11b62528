"""What a registration leaves on disk: for a person, for another program, and for tomorrow."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from equicomir.commands.encode import physical
from equicomir.commands.points import Marked, write_points
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
    points: Marked | None,
    *,
    advance: Callable[[int], object] = lambda rows: None,
) -> dict[str, Any]:
    """Write all that a registration promises.

    Args:
        folder: which is there.
        found: the alignment and its files.
        moving: the moving image as read.
        points: of the moving image, or None.
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
        write_points(folder, points, carried(found, points.places))
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


def carried(found: Found, places: Points) -> Points:
    """Where points of the moving image lie in the fixed one.

    Args:
        found: the alignment and its files.
        places: (n, 2), as (row, column) in pixels of the moving image.

    Returns:
        The same in pixels of the fixed image.
    """
    displacement = found.alignment.displacement
    if displacement is None:
        return transform_points(found.alignment.moving_to_fixed, places)
    size = (found.moving.shape[1], found.moving.shape[2])
    return displace_points(invert_displacement(displacement, size)[0], places)
