"""Aligned pairs on disk: one folder a modality, the same file names in each.

Everything that can be wrong with the files is found here, by name, before training begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from equicomir.images.files import READABLE, read_image
from equicomir.shapes import Image, check_tensor


@dataclass(frozen=True)
class Scene:
    """One scene seen by several instruments, pixel on pixel.

    Attributes:
        name: the file name without its ending, or any other unique name.
        images: one tensor a modality, (channels, height, width), all of one height and width,
            in the instrument's own units.
    """

    name: str
    images: dict[str, Image]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = next(iter(self.images.values())).shape[-2:]
        return height, width


def read_scenes(folders: Sequence[Path]) -> list[Scene]:
    """Read aligned images, one folder a modality, matched by file name.

    Args:
        folders: one a modality, named by it; the first is fixed, the second moving.

    Returns:
        One scene a file name, sorted.

    Raises:
        ValueError: a folder is missing or empty, two folders have one name, a partner is
            missing, a file is unreadable or constant, or sizes or channels differ: the file is
            named.
    """
    modalities = [folder.name for folder in folders]
    if len(set(modalities)) < len(modalities) or len(modalities) < 2:
        raise ValueError(f"folders: expected two or more of different names, got {modalities}.")
    files: list[dict[str, Path]] = []
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder of images, found none.")
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in READABLE)
        if not found:
            raise ValueError(
                f"{folder}: expected images ({', '.join(sorted(READABLE))}), found none."
            )
        named = {path.stem: path for path in found}
        if len(named) < len(found):
            twice = next(p for p in found if named[p.stem] != p)
            raise ValueError(
                f"{twice}: expected one file a name, got {named[twice.stem].name} too."
            )
        files.append(named)
    for one in files:
        for folder, other in zip(folders, files, strict=True):
            for name in sorted(one.keys() - other.keys()):
                raise ValueError(f"{one[name]}: expected a partner in {folder}, found none.")
    scenes = []
    for name in sorted(files[0]):
        images = {m: read_image(f[name]) for m, f in zip(modalities, files, strict=True)}
        for modality, by_name in zip(modalities, files, strict=True):
            check_partner(by_name[name], images[modality], images[modalities[0]])
        scenes.append(Scene(name, images))
    for modality, by_name in zip(modalities, files, strict=True):
        for scene in scenes:
            expected, came = (len(s.images[modality]) for s in (scenes[0], scene))
            if came != expected:
                raise ValueError(
                    f"{by_name[scene.name]}: expected {expected} channels as in "
                    f"{by_name[scenes[0].name].name}, got {came}."
                )
    return scenes


def check_partner(path: Path, image: Image, first: Image) -> None:
    """Refuse an image that is constant, or of another size than its scene's first image."""
    if image.shape[-2:] != first.shape[-2:]:
        expected, came = ("{} x {}".format(*i.shape[-2:]) for i in (first, image))
        raise ValueError(f"{path}: expected {expected} pixels like its partner, got {came}.")
    if image.min() == image.max():
        raise ValueError(f"{path}: expected an image with content, got a constant one.")


@dataclass(frozen=True)
class Scaling:
    """How the intensities of one modality become numbers of about 0 to 1.

    Attributes:
        low: value that becomes 0, a channel.
        high: value that becomes 1, a channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, image: Tensor) -> Tensor:
        """Scale (..., channels, height, width); values outside are kept, not clipped.

        Raises:
            ValueError: the number of channels differs from that of the training images.
        """
        if image.shape[-3] != len(self.low):
            raise ValueError(
                f"image: expected {len(self.low)} channels, as in training, got {image.shape[-3]}."
            )
        low = image.new_tensor(self.low)[:, None, None]
        high = image.new_tensor(self.high)[:, None, None]
        return (image - low) / (high - low)


def percentile_scaling(images: Sequence[Image], low: float = 1, high: float = 99) -> Scaling:
    """Scaling by two percentiles over all pixels of some images (the training part's).

    Args:
        images: each (channels, height, width), any sizes.
        low: percentile that becomes 0.
        high: percentile that becomes 1.

    Returns:
        The scaling, a channel its own.

    Example:
        >>> import torch
        >>> scaling = percentile_scaling([torch.arange(101.0).view(1, 1, 101)], 0, 100)
        >>> scaling.low, scaling.high
        ((0.0,), (100.0,))
    """
    for image in images:
        check_tensor("images", image, "channels height width")
    pixels = np.concatenate([image.flatten(1).numpy() for image in images], axis=1)
    lows, highs = np.percentile(pixels, [low, high], axis=1)
    # A mostly empty image may have equal percentiles; its range is then what is left.
    highs = np.where(highs > lows, highs, np.maximum(pixels.max(axis=1), lows + 1e-6))
    return Scaling(tuple(map(float, lows)), tuple(map(float, highs)))
