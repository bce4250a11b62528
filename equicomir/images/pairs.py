"""Aligned images of one scene, a pair or more: in memory, or left on disk and read by window."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equicomir.images.files import ImageFile, open_image
from equicomir.images.listing import SceneFiles, list_folders
from equicomir.images.scan import IN_MEMORY, Scan, scan
from equicomir.shapes import Image, Mask

_SAMPLED = 2**22  # pixels of a modality from which its scaling is computed, about


@dataclass(frozen=True)
class Scene:
    """One scene seen by several instruments, pixel on pixel.

    Attributes:
        name: the file name without its ending, or any other unique name.
        images: one a modality, (channels, height, width), all of one height and width, in the
            instrument's own units: a tensor, or an open file of which windows are read.
        mask: true where the scene counts, (height, width), or None for everywhere.
        group: what it shares with other scenes (patient, core); empty for nothing.
    """

    name: str
    images: Mapping[str, Image | ImageFile]
    mask: Mask | None = None
    group: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = next(iter(self.images.values())).shape[-2:]
        return height, width

    def window(
        self,
        modality: str,
        rows: tuple[int, int] | None = None,
        columns: tuple[int, int] | None = None,
    ) -> Image:
        """Part of one image as a float32 tensor (channels, rows, columns).

        Pixels that a file does not define (NaN, transparent, not stored) are zero.

        Args:
            modality: of :attr:`images`.
            rows: first and past the last, in pixels; all if None.
            columns: likewise.

        Returns:
            (channels, rows, columns).

        Raises:
            ValueError: the window is not in the image, or the file is damaged: it is named.
        """
        image = self.images[modality]
        if isinstance(image, ImageFile):
            return image.read_masked(rows=rows, columns=columns)[0]
        return image[:, slice(*rows or (None,)), slice(*columns or (None,))]


def read_scenes(
    files: Sequence[Path] | Iterable[SceneFiles], *, in_memory: bool | None = None
) -> list[Scene]:
    """Read aligned images, after a scan that refuses what would spoil training.

    Args:
        files: folders, one a modality, named by it (the first is fixed, the second moving),
            whose files are matched by name; or scenes listed by
            :func:`equicomir.images.listing.list_folders` or ``list_table``.
        in_memory: keep all pixels as float32; leave them in their files if False; whichever
            a total of 1 GiB decides if None.

    Returns:
        One scene a name, in the order listed.

    Raises:
        ValueError: no scenes, or a file would spoil training, as
            :func:`equicomir.images.scan.scan` says: it is named.
    """
    listed = list(files)
    folders = [path for path in listed if isinstance(path, Path)]
    scenes = list_folders(folders) if folders else [s for s in listed if isinstance(s, SceneFiles)]
    found = scan(scenes)
    found.refuse()
    return open_scenes(scenes, found, in_memory=in_memory)


def open_scenes(
    scenes: Iterable[SceneFiles], found: Scan, *, in_memory: bool | None = None
) -> list[Scene]:
    """Read scenes that a scan found nothing wrong with.

    Args:
        scenes: as listed.
        found: what the scan found of them, perhaps among others.
        in_memory: as :func:`read_scenes` says.

    Returns:
        One scene a listed one. Where a file leaves pixels undefined, the mask leaves them out.
    """
    whole = found.float_bytes <= IN_MEMORY if in_memory is None else in_memory
    return [
        _open(scene, whole, undefined=(scene.part, scene.name) in found.undefined)
        for scene in scenes
    ]


def _open(files: SceneFiles, whole: bool, *, undefined: bool) -> Scene:
    opened = {modality: open_image(path) for modality, path in files.files.items()}
    mask = None
    if files.mask is not None:
        mask = (open_image(files.mask).read() != 0).any(0)
    images: dict[str, Image | ImageFile] = dict(opened)
    for modality, file in opened.items():
        if not (whole or undefined):
            continue
        pixels, defined = file.read_masked()
        if undefined:
            mask = defined if mask is None else mask & defined
        if whole:
            images[modality] = pixels
    return Scene(files.name, images, mask, files.group)


def sample_pixels(scenes: Sequence[Scene], modality: str) -> list[Image]:
    """Pixels from which a modality's scaling is computed: all, or windows all over the scenes.

    Args:
        scenes: of the training part; those that lack the modality are left out.
        modality: of their images.

    Returns:
        Pieces (channels, height, width), in which every pixel counts. All pixels of sets of up to
        4 million; of larger ones a lattice of windows, the same each time.
    """
    scenes = [scene for scene in scenes if modality in scene.images]
    total = sum(height * width for height, width in (scene.size for scene in scenes))
    thinned = max(1.0, total / _SAMPLED) ** 0.5
    pieces = []
    for scene in scenes:
        spans = [_spans(extent, thinned) for extent in scene.size]
        for rows in spans[0]:
            for columns in spans[1]:
                piece = scene.window(modality, rows, columns)
                if scene.mask is not None:
                    piece = piece[:, scene.mask[slice(*rows), slice(*columns)]][:, None]
                pieces.append(piece)
    return [piece for piece in pieces if piece.numel()]


def _spans(extent: int, thinned: float) -> list[tuple[int, int]]:
    """Evenly spread stretches that make one part in ``thinned`` of an extent."""
    if thinned == 1:
        return [(0, extent)]
    length = min(64, extent)
    count = max(1, round(extent / thinned / length))
    starts = np.linspace(0, extent - length, count + 2)[1:-1].round().astype(int)
    return [(int(start), int(start) + length) for start in starts]
