"""Transforms on disk, so that a result outlives the program that found it.

A matrix alone is read wrong one day: as the opposite direction, over (x, y), in micrometres, or
between two other images. So the file, JSON that a person can read, says all of it, and reading is
strict: what is damaged or says something else is refused in one sentence that names the file. It
is sealed (:mod:`equicomir.sealed`): whoever changes one by hand takes its entry ``sha256`` out.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from equicomir.sealed import SEAL, read_sealed, write_sealed
from equicomir.shapes import Matrix
from equicomir.transforms.linear import check_matrix, check_pixel_size

_FORMAT, _VERSION = "equicomir transform", 1
_DIRECTION, _UNIT = "moving_to_fixed", "pixels, (row, column, 1)"


@dataclass(frozen=True)
class SavedTransform:
    """What :func:`write_transform` keeps: a transform and the two images it belongs to.

    Attributes:
        moving_to_fixed: 3 x 3 matrix over (row, column, 1), in pixels.
        fixed_size: (height, width), in pixels.
        moving_size: likewise.
        fixed_pixel_size_micrometres: (row, column), or None where nobody knows.
        moving_pixel_size_micrometres: likewise.
        fixed_modality: its name, or None.
        moving_modality: likewise.
    """

    moving_to_fixed: Matrix
    fixed_size: tuple[int, int]
    moving_size: tuple[int, int]
    fixed_pixel_size_micrometres: tuple[float, float] | None = None
    moving_pixel_size_micrometres: tuple[float, float] | None = None
    fixed_modality: str | None = None
    moving_modality: str | None = None


def write_transform(
    path: Path | str, saved: SavedTransform, *, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a transform as JSON, with its direction, unit and version.

    Args:
        path: of the file; one that is there is replaced.
        saved: the transform and its images.
        notes: JSON values that stand beside it, such as a score; they are named in the file, and
            left alone by :func:`read_transform`.

    Raises:
        ValueError: a part of it is not what :class:`SavedTransform` says, or a note has the name
            of a part.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "found.json"
        >>> write_transform(path, SavedTransform(np.eye(3), (64, 64), (32, 48)))
        >>> read_transform(path).moving_size
        (32, 48)
    """
    content = asdict(saved)
    content["moving_to_fixed"] = np.asarray(saved.moving_to_fixed).tolist()
    _checked(content)
    head = {"format": _FORMAT, "version": _VERSION, "direction": _DIRECTION, "unit": _UNIT}
    whole, notes = {**head, **content}, dict(notes or {})
    if taken := sorted(set(notes) & {*whole, "notes", SEAL}):
        raise ValueError(f"notes: expected other names than those of a transform, got {taken}.")
    if notes:
        whole |= {**notes, "notes": list(notes)}
    write_sealed(path, whole)


def read_transform(path: Path | str) -> SavedTransform:
    """Read what :func:`write_transform` wrote.

    Args:
        path: of the file.

    Returns:
        The transform and its images; numbers are those that were written, to the last bit.

    Raises:
        ValueError: the file is damaged, of another format or version, or says something else than
            its format has room for.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "found.json"
        >>> write_transform(path, SavedTransform(np.eye(3), (64, 64), (32, 48), (0.5, 0.5)))
        >>> read_transform(path).fixed_pixel_size_micrometres
        (0.5, 0.5)
    """
    try:
        content = read_sealed(path)
        if content.pop("format", None) != _FORMAT:
            raise ValueError(f'expected "format": "{_FORMAT}"')
        if (version := content.pop("version", None)) != _VERSION or isinstance(version, bool):
            raise ValueError(f"expected version {_VERSION}, got {version!r}")
        for name, only in (("direction", _DIRECTION), ("unit", _UNIT)):
            if (came := content.pop(name, None)) != only:
                raise ValueError(f'expected "{name}": "{only}", got {came!r}')
        notes = content.pop("notes", [])
        told = isinstance(notes, list) and all(isinstance(note, str) for note in notes)
        if not told or not set(notes) <= set(content):
            raise ValueError(f"expected names of notes that stand there, got {notes!r}")
        return _checked({name: value for name, value in content.items() if name not in notes})
    except (OSError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected a transform as JSON, got: {_short(error)}.") from error


def _checked(content: Mapping[str, Any]) -> SavedTransform:
    """The content of a file, every part of which is what it should be."""
    names = {field.name for field in fields(SavedTransform)}
    if set(content) != names:
        raise ValueError(f"missing or unknown: {', '.join(sorted(set(content) ^ names))}")
    return SavedTransform(
        check_matrix("moving_to_fixed", content["moving_to_fixed"]),
        _size("fixed_size", content),
        _size("moving_size", content),
        _pixel_size("fixed_pixel_size_micrometres", content),
        _pixel_size("moving_pixel_size_micrometres", content),
        _word("fixed_modality", content),
        _word("moving_modality", content),
    )


def _pixel_size(name: str, content: Mapping[str, Any]) -> tuple[float, float] | None:
    value = content[name]
    return None if value is None else check_pixel_size(name, value)


def _size(name: str, content: Mapping[str, Any]) -> tuple[int, int]:
    value = content[name]
    whole = isinstance(value, list | tuple) and all(type(n) is int and n > 0 for n in value)
    if not whole or len(value) != 2:
        raise ValueError(f"{name}: expected (height, width) in whole pixels, got {value!r}")
    return value[0], value[1]


def _word(name: str, content: Mapping[str, Any]) -> str | None:
    value = content[name]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected a name or nothing, got {value!r}")
    return value


def _short(error: Exception) -> str:
    """An error as a part of one sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
