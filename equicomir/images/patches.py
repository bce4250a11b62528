"""Patches to learn from: where they are cut and how each modality is turned.

Drawing is apart from applying: a :class:`Draw` holds the parameters, can be kept and replayed,
and gives both images of a pair the same place, each its own angle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equicomir.geometry import rotations, warp
from equicomir.images.pairs import Scene
from equicomir.shapes import Images


@dataclass(frozen=True)
class Draw:
    """The parameters of one batch of patches.

    Attributes:
        scene: index of the scene, (batch,).
        corner: (row, column) of the patch's first pixel before it is turned, (batch, 2).
        degrees: by how much each patch is turned about its centre, (modalities, batch).
    """

    scene: Tensor
    corner: Tensor
    degrees: Tensor


def patch_places(scenes: Sequence[Scene], size: int) -> list[Tensor]:
    """Where patches can be cut: inside the scene, centred on content.

    Content means that every modality is above its own least value there: the empty background
    of a skull-stripped brain teaches nothing.

    Args:
        scenes: to cut from.
        size: height and width of the patches, in pixels.

    Returns:
        One tensor a scene, (places, 2): the (row, column) of the patch's first pixel.

    Raises:
        ValueError: a scene is smaller than ``size``, or has no place for a patch.
    """
    places = []
    for scene in scenes:
        height, width = scene.size
        if min(height, width) < size:
            raise ValueError(
                f"size: expected at most {min(height, width)} pixels, the extent of scene "
                f"{scene.name}, got {size}."
            )
        images = scene.images.values()
        above = torch.stack([(i > i.amin((1, 2), keepdim=True)).any(0) for i in images]).all(0)
        half = size // 2
        centred = above[half : half + height - size + 1, half : half + width - size + 1].nonzero()
        if not len(centred):
            raise ValueError(f"scene {scene.name}: expected content inside it, found none.")
        places.append(centred)
    return places


def draw_patches(
    places: Sequence[Tensor],
    count: int,
    modalities: int,
    *,
    turns: int | None = None,
    scenes_at_once: int | None = None,
    generator: torch.Generator,
) -> Draw:
    """Draw places and angles.

    Args:
        places: of :func:`patch_places`; every place of every scene is equally likely.
        count: number of patches.
        modalities: number of images of a scene.
        turns: every image is turned by its own angle: uniform over the circle if None, else over
            the multiples of 360 / turns degrees (4: quarter turns; 1: none).
        scenes_at_once: take all patches from so many scenes, drawn anew; from any if None. Few
            make the negatives hard: other places of the same tissue.
        generator: the source of randomness.

    Returns:
        The parameters, for :func:`cut_patches`.
    """
    weights = torch.tensor([float(len(place)) for place in places])
    if scenes_at_once is not None and scenes_at_once < len(places):
        few = torch.multinomial(weights, scenes_at_once, generator=generator)
        weights = torch.zeros_like(weights).index_copy(0, few, weights[few])
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    corner = torch.stack(
        [places[int(s)][int(u * len(places[int(s)]))] for s, u in zip(chosen, uniform, strict=True)]
    )
    circle = torch.rand(modalities, count, generator=generator)
    degrees = 360 * circle if turns is None else (circle * turns).floor() * (360 / turns)
    return Draw(chosen, corner, degrees)


def cut_patches(scenes: Sequence[Scene], draw: Draw, size: int) -> list[Images]:
    """Cut the drawn patches, each modality turned by its own angle, with real context.

    Args:
        scenes: those that were drawn from, intensities already scaled.
        draw: the parameters.
        size: height and width, in pixels.

    Returns:
        One tensor a modality, (batch, channels, size, size): the image turned by ``degrees`` as
        ``torch.rot90`` turns, resampled bilinearly once; beyond the scene it is reflected, which
        only corners outside the inscribed disk can see.
    """
    stacks = []
    for index, modality in enumerate(scenes[0].images):
        turned_to_patch = rotations(-draw.degrees[index], size, size)
        turned_to_patch[:, :2, 2] += draw.corner
        patches = [
            warp(
                scenes[int(s)].images[modality][None],
                matrix[None],
                size=(size, size),
                outside="reflection",
            )
            for s, matrix in zip(draw.scene, turned_to_patch, strict=True)
        ]
        stacks.append(torch.cat(patches))
    return stacks
