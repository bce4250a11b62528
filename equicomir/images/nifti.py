"""Volumes in NIfTI-1 files, as the brain sets are published: the plain case, and no other.

Forty lines of header need no further dependency. What is not plain (complex or colour voxels, more
than three axes, NIfTI-2, pairs of files) is refused by name rather than read wrong.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equicomir.shapes import Array, Matrix

_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
}
_Reader = Callable[[str, int], tuple[float, ...]]
_HEADER, _PART = 352, 2**20  # bytes
_MOST = 2**28  # voxels: above it a header is more likely wrong than a brain


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume and where it lies.

    Attributes:
        values: float32, three axes as stored, in the file's units after its scaling.
        to_millimetres: 4 x 4, from voxel indices to millimetres towards the patient's right,
            front and head.
    """

    values: Array
    to_millimetres: Matrix


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 volume, packed by gzip or not.

    Args:
        path: a single file, ``.nii`` or ``.nii.gz``; told by its content.

    Returns:
        The volume, scaled by the file's slope and intercept.

    Raises:
        ValueError: another kind of file, or a damaged one: one sentence with the path.

    Example:
        >>> import tempfile
        >>> header = bytearray(352)
        >>> struct.pack_into("<i", header, 0, 348)
        >>> struct.pack_into("<8h", header, 40, 3, 2, 1, 1, 1, 1, 1, 1)
        >>> struct.pack_into("<2h", header, 70, 2, 8)  # bytes
        >>> struct.pack_into("<4f", header, 76, 1, 1, 1, 1)
        >>> struct.pack_into("<3f", header, 108, 352, 0.5, 0)  # data from here, slope, intercept
        >>> header[344:347] = b"n+1"
        >>> path = Path(tempfile.mkdtemp()) / "a.nii"
        >>> _ = path.write_bytes(header + bytes([3, 4]))
        >>> read_nifti(path).values.ravel().tolist()
        [1.5, 2.0]

    Source:
        The NIfTI-1 header, nifti1.h of the NIfTI Data Format Working Group, 2003 to 2007.
    """
    raw = _first(path, _HEADER)
    order = next((o for o in "<>" if raw[:4] == struct.pack(f"{o}i", 348)), None)
    if order is None or len(raw) < _HEADER or raw[344:348] != b"n+1\0":
        raise ValueError(f"{path}: expected a NIfTI-1 file in one piece, got another kind of file.")

    def read(kind: str, at: int) -> tuple[float, ...]:
        return struct.unpack_from(order + kind, raw, at)

    axes, *sizes = (int(size) for size in read("8h", 40))
    shape = tuple(sizes[:3])
    if axes < 3 or axes > 7 or min(shape) < 1 or any(s != 1 for s in sizes[3:axes]):
        raise ValueError(
            f"{path}: expected a volume of three axes, got {axes} axes of sizes {sizes}."
        )
    code = int(read("h", 70)[0])
    if code not in _TYPES:
        raise ValueError(
            f"{path}: expected integers or floats of up to 64 bit (NIfTI types "
            f"{', '.join(map(str, _TYPES))}), got type {code}."
        )
    kind = np.dtype(order + _TYPES[code])
    start, count = read("f", 108)[0], int(np.prod(shape, dtype=np.int64))
    voxels = f"{shape} voxels of {kind.itemsize} bytes from byte {start:g}"
    if not _HEADER <= start < 2**31 or count > _MOST:
        raise ValueError(
            f"{path}: expected a volume of at most {_MOST} voxels, got {voxels}; copy it again."
        )
    end = int(start) + count * kind.itemsize
    whole = _first(path, end, and_check=True)
    if len(whole) < end:
        raise ValueError(f"{path}: expected {voxels}, got a file of {len(whole)}; copy it again.")
    stored = np.frombuffer(whole, kind, count, int(start)).reshape(shape, order="F")
    slope, intercept = read("2f", 112)
    if not np.isfinite([slope, intercept]).all():
        raise ValueError(f"{path}: expected a finite scaling, got {slope} and {intercept}.")
    with np.errstate(all="ignore"):  # what float32 does not hold is infinite there
        # A slope of zero means, by the format, that the values are as stored.
        values = stored * np.float64(slope) + intercept if slope != 0 else stored
        return Volume(np.asarray(values, np.float32), _placed(path, read))


def _first(path: Path, count: int, *, and_check: bool = False) -> bytes:
    """The first bytes of a file, unpacked, and no more of them: what is packed may be a bomb.

    Args:
        path: of the file.
        count: how many.
        and_check: the rest too, piece by piece, for the checksum that stands at the end.
    """
    try:
        with path.open("rb") as stored:
            packed = stored.read(2) == b"\x1f\x8b"
            stored.seek(0)
            file: io.BufferedIOBase = gzip.GzipFile(fileobj=stored) if packed else stored
            content = file.read(count)
            while and_check and file.read(_PART):
                pass
            return content
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise ValueError(f"{path}: expected a readable NIfTI file, got: {reason}.") from error


def _placed(path: Path, read: _Reader) -> Matrix:
    """From voxels to millimetres: the affine rows if given, else quaternion, else voxel sizes."""
    handedness, *spacing = read("4f", 76)
    quaternion_given, rows_given = (int(code) > 0 for code in read("2h", 252))
    matrix = np.eye(4)
    if rows_given:
        matrix[:3] = np.reshape(read("12f", 280), (3, 4))
    elif quaternion_given:
        b, c, d = read("3f", 256)
        a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        if handedness < 0:
            rotation[:, 2] *= -1
        matrix[:3, :3] = rotation * spacing
        matrix[:3, 3] = read("3f", 268)
    else:
        matrix[:3, :3] = np.diag(spacing)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
        raise ValueError(f"{path}: expected a placement in space, got {matrix[:3].tolist()}.")
    return matrix
