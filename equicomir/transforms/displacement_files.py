"""Displacements on disk, as the vector images that ITK's programs take for deformation fields.

A field does not fit the text of :mod:`equicomir.transforms.itk`. It is written as MetaImage
(``.mha``): SimpleITK's ``ReadImage`` reads it, and ``DisplacementFieldTransform`` makes of it the
map from fixed to moving points. There, as everywhere in ITK, vectors are (x, y) in the unit of the
spacing; the origin is the centre of the first pixel. The header's comment tells the SHA-256 of the
rest, so that damage is seen; a file that another program wrote has none.
"""

import hashlib
from pathlib import Path

import numpy as np

from equicomir.sealed import write_whole
from equicomir.shapes import Array
from equicomir.transforms.deformations import check_displacement
from equicomir.transforms.linear import check_pixel_size

_ONE_PIXEL = (1.0, 1.0)
_TYPES = {"MET_DOUBLE": "<f8", "MET_FLOAT": "<f4"}
_ONLY = {  # what these entries must say, where they are there
    "ObjectType": "Image",
    "NDims": "2",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 1",
    "Offset": "0 0",
    "ElementNumberOfChannels": "2",
}
_NEEDED = {"NDims", "DimSize", "ElementSpacing", "ElementNumberOfChannels", "ElementType"}
_IGNORED = {"CenterOfRotation", "AnatomicalOrientation"}
_NOTES = "ITK_"  # how ITK begins its notes to itself in what it has read and writes again
_SEAL = "Comment = sha256 "
_END = b"ElementDataFile = LOCAL\n"


def write_displacement(
    path: Path | str,
    displacement: Array,
    *,
    fixed_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL,
    moving_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL,
) -> None:
    """Write a displacement as a MetaImage of vectors.

    Args:
        path: of the file, ending in ``.mha``.
        displacement: shape (2, height, width), in pixels, on the fixed image's grid.
        fixed_pixel_size_micrometres: (row, column); the *spacing* that the other program will see.
        moving_pixel_size_micrometres: likewise.

    Raises:
        TypeError, ValueError: no displacement, no pixel size, or another ending.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "found.mha"
        >>> write_displacement(path, np.full((2, 4, 5), 0.5))
        >>> bool((read_displacement(path) == 0.5).all())
        True
    """
    displacement = check_displacement("displacement", displacement)
    fixed = check_pixel_size("fixed_pixel_size_micrometres", fixed_pixel_size_micrometres)
    moving = check_pixel_size("moving_pixel_size_micrometres", moving_pixel_size_micrometres)
    if Path(path).suffix != ".mha":  # by which ITK chooses its reader
        raise ValueError(f"{path}: expected a name that ends in .mha; rename it.")
    pixels = np.indices(displacement.shape[1:])
    vectors = (pixels + displacement) * _along(moving) - pixels * _along(fixed)
    height, width = displacement.shape[1:]
    lines = [f"{name} = {value}" for name, value in _ONLY.items()]
    lines += [f"DimSize = {width} {height}", f"ElementSpacing = {fixed[1]!r} {fixed[0]!r}"]
    head = "\n".join([*lines, "ElementType = MET_DOUBLE", ""]).encode("ascii")
    values = vectors[::-1].transpose(1, 2, 0).astype("<f8").tobytes()
    seal = f"{_SEAL}{hashlib.sha256(head + values).hexdigest()}\n".encode("ascii")
    write_whole(path, head + seal + _END + values)


def read_displacement(
    path: Path | str, *, moving_pixel_size_micrometres: tuple[float, float] = _ONE_PIXEL
) -> Array:
    """Read a displacement from a MetaImage of vectors, of this library or of SimpleITK.

    Args:
        path: of the file: uncompressed, float or double, with its origin at zero.
        moving_pixel_size_micrometres: (row, column), in the unit of the file, which says that of
            the fixed image itself.

    Returns:
        Shape (2, height, width), in pixels, on the fixed image's grid.

    Raises:
        ValueError: the file is damaged or holds something else, or no pixel size.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "found.mha"
        >>> write_displacement(path, np.zeros((2, 4, 5)), moving_pixel_size_micrometres=(2, 2))
        >>> read_displacement(path, moving_pixel_size_micrometres=(2, 2)).shape
        (2, 4, 5)
    """
    moving = check_pixel_size("moving_pixel_size_micrometres", moving_pixel_size_micrometres)
    try:
        content = Path(path).read_bytes()
        head, end, values = content.partition(_END)
        if not end:
            raise ValueError(f"no line {_END.decode().strip()!r}")
        entries = _entries(_unsealed(head, values).decode("ascii"))
        columns, rows = entries["ElementSpacing"].split()
        fixed = check_pixel_size("ElementSpacing", (float(rows), float(columns)))
        width, height = (int(number) for number in entries["DimSize"].split())
        kind = np.dtype(_TYPES[entries["ElementType"]])
        if len(values) != 2 * width * height * kind.itemsize or min(width, height) < 1:
            raise ValueError(f"{len(values)} bytes for {height} x {width} vectors of {kind}")
        vectors = np.frombuffer(values, kind).reshape(height, width, 2)
        pixels = np.indices((height, width))
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused
            places = pixels * _along(fixed) + vectors.transpose(2, 0, 1)[::-1].astype(np.float64)
            displacement = places / _along(moving) - pixels
        return check_displacement("its values", displacement)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path}: expected a displacement as .mha, got: {reason}.") from error


def _unsealed(head: bytes, values: bytes) -> bytes:
    """The header without its seal, if it has one, which must be that of the file."""
    rest, found, told = head.rpartition(_SEAL.encode("ascii"))
    if not found:
        return head
    if told != hashlib.sha256(rest + values).hexdigest().encode("ascii") + b"\n":
        raise ValueError(
            "another content than its sha256 was made of; restore it, or take the line "
            f"{_SEAL.strip()!r} out if you changed it yourself"
        )
    return rest


def _along(pixel_size: tuple[float, float]) -> Array:
    """A pixel size as something to multiply (2, height, width) by."""
    return np.array(pixel_size)[:, None, None]


def _entries(head: str) -> dict[str, str]:
    """The header's entries, all of which are understood."""
    entries: dict[str, str] = {}
    for line in head.splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or name in entries:
            raise ValueError(f"the line {line[:60]!r} where it does not belong")
        entries[name] = value
    if missing := _NEEDED - entries.keys():
        raise ValueError(f"no {', '.join(sorted(missing))}")
    for name, value in entries.items():
        if name not in _ONLY.keys() | _NEEDED | _IGNORED and not name.startswith(_NOTES):
            raise ValueError(f"the unknown entry {name[:60]!r}")
        if _ONLY.get(name, value) != value:
            raise ValueError(f"{name} = {value[:60]}, not {_ONLY[name]}")
    if entries["ElementType"] not in _TYPES:
        raise ValueError(f"ElementType = {entries['ElementType'][:60]}, not {' or '.join(_TYPES)}")
    return entries
