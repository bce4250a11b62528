"""An image file that has been looked into but not read: what is in it, and how to read a window.

A whole slide does not fit into memory, so what a file holds is known first and pixels are read
when they are asked for. The formats (`tiff`, `pictures`, `files`) each make this one thing.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equicomir.shapes import ArrayMask, Image, Mask

#: Pixels as stored, (channels, height, width), any real type.
Values = np.ndarray[tuple[int, ...], np.dtype[Any]]
#: First row, row past the last, first column, column past the last.
Window = tuple[int, int, int, int]
#: Level and window to pixels and, where some are not defined, the mask of those that are.
Reader = Callable[[int, Window], tuple[Values, ArrayMask | None]]

#: Values (channels x height x width) of one read, and bytes of one piece that must be unpacked
#: whole: above it a header is more likely wrong, or a bomb, than an image.
MOST = 2**30

# How EXIF orientations 1 to 8 become upright: (swap rows and columns, flip rows, flip columns).
_UPRIGHT = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class Unreadable(ValueError):  # noqa: N818 - a refusal, caught as the ValueError it is
    """One sentence with the path: what was expected, what came, what to do.

    Args:
        path: of the file.
        sentence: without the path.
    """

    def __init__(self, path: Path, sentence: str) -> None:
        super().__init__(f"{path}: {sentence}")


@contextmanager
def one_sentence(path: Path) -> Iterator[None]:
    """Whatever a reader raises or warns of becomes one sentence with the path."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", UserWarning)  # readers warn of damage, and go on
            yield
    except Unreadable:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise Unreadable(path, f"expected a readable image, got: {_short(reason)}.") from error
    except Exception as error:  # readers raise types of their own, without the path
        reason = str(error) or type(error).__name__
        raise Unreadable(path, f"expected a readable image, got: {_short(reason)}.") from error


def _short(reason: str) -> str:
    return reason.splitlines()[0].strip().rstrip(".")[:160]


@dataclass(frozen=True)
class ImageFile:
    """What is in an image file, upright; nothing has been read yet, and no file is held open.

    It can be copied to other processes: every read opens the file anew.

    Attributes:
        path: of the file.
        kind: "TIFF", "PNG", "JPEG" or "NPY", by content, not by ending.
        shape: (channels, height, width) of level 0, the finest.
        dtype: of the values in the file.
        level_sizes: (height, width) of every level of the pyramid, finest first.
        pixel_size_micrometres: (row, column) of level 0, None if the file does not say.
        channel_names: one a channel, () if the file does not say.
        notes: what reading changes or could not use, one sentence each, for a person to see.
        orientation: as EXIF numbers it; all else here is given after it has been applied.
        stored: reads a window of a level, as it is stored.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(path, np.arange(12, dtype=np.uint8).reshape(3, 4))
        >>> from equicomir.images.files import open_image
        >>> image = open_image(path)
        >>> image.kind, image.shape, image.dtype, image.level_sizes
        ('NPY', (1, 3, 4), dtype('uint8'), ((3, 4),))
        >>> image.read(rows=(1, 3), columns=(0, 2)).tolist()
        [[[4.0, 5.0], [8.0, 9.0]]]
    """

    path: Path
    kind: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    level_sizes: tuple[tuple[int, int], ...]
    pixel_size_micrometres: tuple[float, float] | None
    channel_names: tuple[str, ...]
    notes: tuple[str, ...]
    orientation: int
    stored: Reader = field(repr=False, compare=False)

    def read(
        self,
        level: int = 0,
        *,
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
    ) -> Image:
        """Read pixels, in the file's own units; every one of them must be defined.

        Args:
            level: of the pyramid, 0 the finest, below ``len(level_sizes)``.
            rows: first and past the last, in pixels of that level; all if None.
            columns: first and past the last, in pixels of that level; all if None.

        Returns:
            float32 tensor (channels, height, width). Integers above 2**24 are rounded as
            float32 does.

        Raises:
            ValueError: the level or window is not in the file, is too large for memory, is
                damaged, or has pixels that are NaN, infinite, transparent or not stored: the
                file is named.

        Example:
            :class:`ImageFile` shows one.
        """
        image, mask, why = self._read(level, rows, columns)
        if not mask.all():
            count = int((~mask).sum())
            raise Unreadable(
                self.path,
                f"expected {'finite values' if 'NaN' in why else 'every pixel defined'}, got "
                f"{count} pixels that are {why}; leave them out with read_masked, or fill them.",
            )
        return image

    def read_masked(
        self,
        level: int = 0,
        *,
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
    ) -> tuple[Image, Mask]:
        """Read pixels and which of them are defined.

        Args:
            level: as for :meth:`read`.
            rows: as for :meth:`read`.
            columns: as for :meth:`read`.

        Returns:
            The pixels, 0 in all channels where not defined; and the mask (height, width), false
            where any channel is NaN or infinite, where not fully opaque, or not stored.

        Raises:
            ValueError: as :meth:`read`, but for pixels that are not defined.

        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "a.npy"
            >>> np.save(path, np.array([[1.0, np.nan], [3.0, 4.0]]))
            >>> from equicomir.images.files import open_image
            >>> image, mask = open_image(path).read_masked()
            >>> image.tolist(), mask.tolist()
            ([[[1.0, 0.0], [3.0, 4.0]]], [[True, False], [True, True]])
        """
        image, mask, _ = self._read(level, rows, columns)
        return torch.where(mask, image, 0.0), mask

    def _read(
        self, level: int, rows: tuple[int, int] | None, columns: tuple[int, int] | None
    ) -> tuple[Image, Mask, str]:
        """Pixels, mask and why some are not defined."""
        if not 0 <= level < len(self.level_sizes):
            raise Unreadable(
                self.path, f"expected a level from 0 to {len(self.level_sizes) - 1}, got {level}."
            )
        height, width = self.level_sizes[level]
        top, bottom = self._span("rows", rows, height)
        left, right = self._span("columns", columns, width)
        if self.shape[0] * (bottom - top) * (right - left) > MOST:
            raise Unreadable(
                self.path,
                f"expected at most {MOST} values in one read, got {self.shape[0]} x "
                f"{bottom - top} x {right - left}; read a window or a coarser level.",
            )
        swap, flip_rows, flip_columns = _UPRIGHT[self.orientation]
        if flip_rows:
            top, bottom = height - bottom, height - top
        if flip_columns:
            left, right = width - right, width - left
        window = (left, right, top, bottom) if swap else (top, bottom, left, right)
        with one_sentence(self.path):
            values, defined = self.stored(level, window)
            image = torch.from_numpy(self._upright(values).astype(np.float32, order="C"))
            finite = image.isfinite().all(0)
            if defined is None:
                return image, finite, "NaN or infinite"
            opaque = torch.from_numpy(np.ascontiguousarray(self._upright(defined)))
        why = "transparent or not stored" if bool(finite.all()) else "NaN, transparent or missing"
        return image, finite & opaque, why

    def _span(self, name: str, span: tuple[int, int] | None, extent: int) -> tuple[int, int]:
        first, past = span or (0, extent)
        if not 0 <= first < past <= extent:
            raise Unreadable(
                self.path,
                f"expected {name} as (first, past the last) within 0 and {extent}, got {span}.",
            )
        return first, past

    def _upright(self, stored: Values) -> Values:
        swap, flip_rows, flip_columns = _UPRIGHT[self.orientation]
        turned = stored.swapaxes(-1, -2) if swap else stored
        turned = turned[..., ::-1, :] if flip_rows else turned
        return turned[..., ::-1] if flip_columns else turned


def image_file(
    path: Path,
    kind: str,
    dtype: np.dtype[Any],
    channels: int,
    stored_sizes: Sequence[tuple[int, int]],
    stored: Reader,
    *,
    orientation: int = 1,
    stored_pixel_size: tuple[float, float] | None = None,
    channel_names: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> ImageFile:
    """Make an :class:`ImageFile` of what a format says of the pixels as they are stored.

    Args:
        path: of the file.
        kind: as in :class:`ImageFile`.
        dtype: of the values in the file.
        channels: how many.
        stored_sizes: (height, width) of every level, finest first.
        stored: reads a window of a level.
        orientation: as EXIF numbers it.
        stored_pixel_size: (row, column), in micrometres, if the file says.
        channel_names: one a channel, or none.
        notes: for a person to see.

    Returns:
        The file, upright.
    """
    notes = list(notes)
    if orientation not in _UPRIGHT:
        notes.append(f"the orientation {orientation} is none of EXIF's 1 to 8 and was ignored")
        orientation = 1
    sizes, pixel = list(stored_sizes), stored_pixel_size
    if orientation != 1:
        notes.append(f"turned upright as its EXIF orientation {orientation} says")
    if _UPRIGHT[orientation][0]:
        sizes = [(width, height) for height, width in sizes]
        pixel = (pixel[1], pixel[0]) if pixel else None
    return ImageFile(
        path,
        kind,
        (channels, *sizes[0]),
        dtype.newbyteorder("="),
        tuple(sizes),
        pixel,
        tuple(channel_names) if len(channel_names) == channels else (),
        tuple(notes),
        orientation,
        stored,
    )


def believable_size(inches: tuple[float, float]) -> tuple[float, float] | None:
    """Pixel size (row, column) in micrometres from pixels per inch, None above 10 micrometres.

    Ordinary software writes 72, 96, 300 or 600 per inch into everything: a printer's
    resolution, not an instrument's.
    """
    if min(inches) <= 0:
        return None
    size = (25400 / inches[0], 25400 / inches[1])
    return size if max(size) < 10 else None
