"""Where images come from: the embedded default, and folders laid out in parts.

The embedded set needs no download: it is the immunohistochemistry picture that ships inside
scikit-image's wheel, separated into its two stains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
import torch
from skimage.color import rgb2hed

from equicomir.images.pairs import Scene, read_scenes


@dataclass(frozen=True)
class Parts:
    """A data set in its three disjoint parts.

    Attributes:
        name: of the set.
        modalities: fixed first, moving second.
        train: scenes to learn from.
        validation: scenes on which everything that is chosen is chosen.
        test: scenes looked at once.
    """

    name: str
    modalities: tuple[str, ...]
    train: list[Scene]
    validation: list[Scene]
    test: list[Scene]


def embedded() -> Parts:
    """Haematoxylin and DAB of one immunohistochemistry picture, 512 x 512, exactly aligned.

    Two *pseudo-modalities*: one camera took both stains in one colour picture, and colour
    deconvolution (``skimage.color.rgb2hed``) separates them. They look unlike (Pearson
    correlation about 0.07), but share the camera, its focus and its noise: good for seeing the
    whole path work, not for claims about two instruments.

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
        return [Scene(name, {"haematoxylin": cut[0:1].clone(), "dab": cut[2:3].clone()})]

    return Parts(
        "immunohistochemistry",
        ("haematoxylin", "dab"),
        part("left", slice(0, 512), slice(0, 236)),
        part("top_right", slice(0, 216), slice(244, 512)),
        part("bottom_right", slice(224, 512), slice(244, 512)),
    )


def read_parts(folder: Path, modalities: Sequence[str]) -> Parts:
    """Read a set laid out as ``FOLDER/{train,validation,test}/MODALITY/NAME.png``.

    Args:
        folder: the set's folder; its name becomes the set's.
        modalities: names of the folders to read, fixed first, moving second.

    Returns:
        The three parts.

    Raises:
        ValueError: as :func:`equicomir.images.pairs.read_scenes`, naming the file or folder.
    """
    train, validation, test = (
        read_scenes([folder / part / modality for modality in modalities])
        for part in ("train", "validation", "test")
    )
    return Parts(folder.resolve().name, tuple(modalities), train, validation, test)
