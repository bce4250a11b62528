"""Where images come from: the embedded default, folders laid out in parts, and tables.

The embedded set needs no download: it is the immunohistochemistry picture that ships inside
scikit-image's wheel, separated into its two stains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import skimage
import torch
from skimage.color import rgb2hed

from equicomir.images.listing import PARTS, SceneFiles, list_folders, list_table, split
from equicomir.images.pairs import Scene, open_scenes
from equicomir.images.scan import scan

#: Of the embedded picture, as ``skimage.color.rgb2hed`` gives them.
STAINS = ("haematoxylin", "eosin", "dab")


@dataclass(frozen=True)
class Parts:
    """A data set in its three disjoint parts.

    Attributes:
        name: of the set.
        modalities: fixed first, moving second.
        train: scenes to learn from.
        validation: scenes on which everything that is chosen is chosen.
        test: scenes looked at once.
        found: what a scan of the files found, for a person to read.
    """

    name: str
    modalities: tuple[str, ...]
    train: list[Scene]
    validation: list[Scene]
    test: list[Scene]
    found: tuple[str, ...] = ()


def embedded(modalities: tuple[str, ...] = ("haematoxylin", "dab")) -> Parts:
    """Stains of one immunohistochemistry picture, 512 x 512, exactly aligned.

    Two *pseudo-modalities*: one camera took both stains in one colour picture, and colour
    deconvolution (``skimage.color.rgb2hed``) separates them. They look unlike (Pearson
    correlation about 0.07), but share the camera, its focus and its noise: good for seeing the
    whole path work, not for claims about two instruments.

    Args:
        modalities: of :data:`STAINS`, fixed first, moving second. The picture has hardly any eosin:
            what the deconvolution puts there is what the other two leave.

    Returns:
        Parts with 8 pixels left out between them: training is columns 0 to 235; of columns 244
        on, rows 0 to 215 are validation and rows 224 on are test.

    Example:
        >>> parts = embedded()
        >>> parts.test[0].size
        (288, 268)
    """
    stains = rgb2hed(skimage.data.immunohistochemistry()).astype(np.float32)
    image = torch.from_numpy(np.ascontiguousarray(stains.transpose(2, 0, 1)))

    def part(name: str, rows: slice, columns: slice) -> list[Scene]:
        cut = image[:, rows, columns]
        channels = {stain: STAINS.index(stain) for stain in modalities}
        return [Scene(name, {stain: cut[c : c + 1].clone() for stain, c in channels.items()})]

    return Parts(
        "immunohistochemistry",
        modalities,
        part("left", slice(0, 512), slice(0, 236)),
        part("top_right", slice(0, 216), slice(244, 512)),
        part("bottom_right", slice(224, 512), slice(244, 512)),
    )


def read_parts(folder: Path, modalities: Sequence[str], *, masks: str | None = None) -> Parts:
    """Read a set laid out as ``FOLDER/{train,validation,test}/MODALITY/NAME.png``.

    Args:
        folder: the set's folder; its name becomes the set's.
        modalities: names of the folders to read, fixed first, moving second.
        masks: name of the folder of masks, or None.

    Returns:
        The three parts, scanned together.

    Raises:
        ValueError: as :func:`equicomir.images.pairs.read_scenes`, naming the file or folder.
    """
    listed = [
        replace(scene, part=part)
        for part in PARTS
        for scene in list_folders(
            [folder / part / modality for modality in modalities],
            masks=folder / part / masks if masks else None,
        )
    ]
    return _of_listed(folder.resolve().name, modalities, listed)


def read_table(
    path: Path, *, validation: float = 0.2, test: float = 0.2, generator: np.random.Generator
) -> Parts:
    """Read a set listed in a CSV table; groups stay together.

    Args:
        path: as :func:`equicomir.images.listing.list_table` reads it; its name without ending
            becomes the set's.
        validation: fraction of the groups without a part that are left for choosing.
        test: fraction of the groups without a part that are looked at once.
        generator: divides them.

    Returns:
        The three parts, scanned together.

    Raises:
        ValueError: as ``list_table``, :func:`equicomir.images.listing.split` and
            :func:`equicomir.images.pairs.read_scenes`.
    """
    listed = split(list_table(path), validation=validation, test=test, generator=generator)
    return _of_listed(path.stem, list(listed[0].files), listed)


def _of_listed(name: str, modalities: Sequence[str], listed: Sequence[SceneFiles]) -> Parts:
    found = scan(listed)
    found.refuse()
    train, validation, test = (
        open_scenes([s for s in listed if s.part == part], found) for part in PARTS
    )
    return Parts(name, tuple(modalities), train, validation, test, tuple(found.lines))
