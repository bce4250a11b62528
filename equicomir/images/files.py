"""The users' image files: told by their content, looked into, read by window.

TIFF, BigTIFF and OME-TIFF, PNG, JPEG and NPY, of 1 to 64 bit, grey, RGB or of many channels. A
file is either read right or refused in one sentence that names it; nothing is guessed that would
be a wrong image.
"""

import stat
from functools import partial
from pathlib import Path

import numpy as np

from equicomir.images.opened import (
    ImageFile,
    Unreadable,
    Values,
    Window,
    image_file,
    one_sentence,
)
from equicomir.images.pictures import open_jpeg, open_png
from equicomir.images.tiff import open_tiff
from equicomir.shapes import ArrayMask, Image

__all__ = ["READABLE", "ImageFile", "open_image", "read_image"]

#: Endings by which images are found in a folder; how one is read is decided by its content.
READABLE = {".png", ".tif", ".tiff", ".tf8", ".btf", ".svs", ".qptiff", ".jpg", ".jpeg", ".npy"}

_PNG, _JPEG, _NPY = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"%PDF": "PDF",
    b"PK\x03\x04": "a zip or NPZ archive",
    b"\x89HDF": "HDF5",
    b"ZISRAWFILE": "Zeiss CZI",
    b"\x70\0\0\0": "Leica LIF",
    b"\xda\xce\xbe\x0a": "Nikon ND2",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\0\0\0\x0cJXL": "JPEG XL",
    b"\x1f\x8b": "a gzip archive",
}


def open_image(
    path: Path | str, *, image: int | None = None, plane: int | slice | None = None
) -> ImageFile:
    """Look into an image file without reading its pixels.

    Args:
        path: TIFF, BigTIFF, OME-TIFF, PNG, JPEG or NPY, whatever its ending.
        image: which image of a TIFF that holds several, from 0; if None, the first, where it is
            larger than all others (labels and thumbnails of a slide are).
        plane: which plane of a stack (depth, time, unnamed pages), from 0; or a slice of planes
            to take as channels, ``slice(None)`` all of them. If None, stacks are refused.

    Returns:
        What is in the file. An NPY of three axes is (height, width, channels) if the last is
        at most 4, else the shorter of the first and last axis is channels.

    Raises:
        ValueError: the file is no such image, is damaged, or does not say clearly what its
            pixels are: one sentence with the path.

    Example:
        >>> import tempfile
        >>> from skimage import io
        >>> path = Path(tempfile.mkdtemp()) / "small.tif"
        >>> io.imsave(path, np.zeros((40, 30, 3), np.uint8), check_contrast=False)
        >>> image = open_image(path)
        >>> image.kind, image.shape, image.channel_names, image.pixel_size_micrometres
        ('TIFF', (3, 40, 30), ('red', 'green', 'blue'), None)
    """
    path = Path(path)
    with one_sentence(path):
        information = path.stat()
        if not stat.S_ISREG(information.st_mode):  # a pipe would be waited for
            raise Unreadable(path, "expected a readable image, got a folder or device.")
        with path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise Unreadable(path, "expected a readable image, got an empty file; copy it again.")
        if head.startswith(_TIFF):
            return open_tiff(path, image, plane)
        if image is not None or plane is not None:
            raise Unreadable(path, "expected a TIFF, of which an image or plane can be chosen.")
        if head.startswith(_PNG):
            return open_png(path)
        if head.startswith(_JPEG):
            return open_jpeg(path)
        if head.startswith(_NPY):
            return _open_npy(path)
        came = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
        raise Unreadable(
            path,
            f"expected a readable image (TIFF, PNG, JPEG or NPY), got "
            f"{came or 'something else'}; save it as TIFF.",
        )


def read_image(path: Path) -> Image:
    """Read one image file as floats, in the file's own units.

    Args:
        path: TIFF, PNG, JPEG or NPY, as for :func:`open_image`.

    Returns:
        float32 tensor (channels, height, width).

    Raises:
        ValueError: the file cannot be read as a two-dimensional image; it is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(path, np.array([[1, 2], [3, 4]]))
        >>> read_image(path).tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    return open_image(path).read()


def _open_npy(path: Path) -> ImageFile:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    shape = array.shape
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
        raise Unreadable(
            path,
            f"expected (height, width) or those and channels, of integers or floats, got "
            f"{array.dtype} of shape {shape}.",
        )
    if array.ndim == 2:
        last, channels, size = True, 1, shape
    elif shape[2] <= 4 or shape[2] < shape[0]:
        last, channels, size = True, shape[2], shape[:2]
    elif shape[0] < shape[2]:
        last, channels, size = False, shape[0], shape[1:]
    else:
        raise Unreadable(
            path,
            f"expected channels as the shortest axis, first or last, got shape {shape}; save it "
            f"as OME-TIFF with its axes named.",
        )
    reader = partial(_read_npy, path, last)
    return image_file(path, "NPY", array.dtype, channels, [(size[0], size[1])], reader)


def _read_npy(
    path: Path, last: bool, level: int, window: Window
) -> tuple[Values, ArrayMask | None]:
    top, bottom, left, right = window
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    array = array[..., None] if array.ndim == 2 else array
    array = array if last else array.transpose(1, 2, 0)
    return np.array(array[top:bottom, left:right]).transpose(2, 0, 1), None
