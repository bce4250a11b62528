"""Patches to learn from: where they are cut and how each modality is turned.

Drawing is apart from applying: a :class:`Draw` holds the parameters, can be kept and replayed,
and gives both images of a pair the same place, each its own angle.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from equicomir.geometry import rotations
from equicomir.images import augmentation as augmenting
from equicomir.images.augmentation import Augmentation, Geometry, Photometry
from equicomir.images.intensities import Scaling
from equicomir.images.pairs import Scene
from equicomir.shapes import Image, Images

_CELLS = 2**18  # of a scene's map of content, about: finer maps of large scenes tell no more
_IN_MASK = 0.9  # of a patch's pixels


@dataclass(frozen=True)
class Places:
    """Where the patches of one scene can be cut.

    Attributes:
        size: height and width of the patches, in pixels.
        extent: (height, width) of the scene.
        cell: side of a cell, in pixels; 1 for scenes of up to about 512 x 512.
        cells: (row, column) of the cells in which a patch may have its centre, (n, 2).
    """

    size: int
    extent: tuple[int, int]
    cell: int
    cells: Tensor

    @property
    def area(self) -> int:
        """Pixels in which a patch may have its centre, about."""
        return len(self.cells) * self.cell**2

    def corner(self, uniform: Tensor) -> Tensor:
        """(row, column) of a patch's first pixel, from three numbers uniform in [0, 1)."""
        centre = self.cells[int(uniform[0] * len(self.cells))] * self.cell
        centre = centre + (uniform[1:] * self.cell).long()
        most = torch.tensor(self.extent) - self.size
        return (centre - self.size // 2).clamp(min=torch.zeros(2, dtype=torch.int64), max=most)


@dataclass(frozen=True)
class Draw:
    """The parameters of one batch of patches.

    Attributes:
        scene: index of the scene, (batch,).
        corner: (row, column) of the patch's first pixel before it is turned, (batch, 2).
        degrees: by how much each patch is turned about its centre, (modalities, batch).
        geometry: how the scenes are moved under the patches, or None.
        photometry: how the light of each modality is changed, one a modality, or empty.
        modalities: names of those that are cut; empty for those of the first scene.
    """

    scene: Tensor
    corner: Tensor
    degrees: Tensor
    geometry: Geometry | None = None
    photometry: tuple[Photometry, ...] = ()
    modalities: tuple[str, ...] = ()

    def part(self, first: int, past: int) -> "Draw":
        """The patches ``first`` up to ``past`` of the batch.

        Args:
            first: from 0.
            past: past the last.

        Returns:
            A draw of fewer patches.
        """
        some = slice(first, past)
        return Draw(
            self.scene[some],
            self.corner[some],
            self.degrees[:, some],
            self.geometry and self.geometry.part(some),
            tuple(one.part(some) for one in self.photometry),
            self.modalities,
        )

    def as_lists(self) -> dict[str, Any]:
        """Plain lists, for JSON; :meth:`from_lists` gives the same draw back, bit for bit."""
        return {
            "scene": self.scene.tolist(),
            "corner": self.corner.tolist(),
            "degrees": self.degrees.tolist(),
            "geometry": self.geometry and self.geometry.as_lists(),
            "photometry": [one.as_lists() for one in self.photometry],
            "modalities": list(self.modalities),
        }

    @staticmethod
    def from_lists(lists: Mapping[str, Any]) -> "Draw":
        """What :meth:`as_lists` wrote down."""
        return Draw(
            torch.tensor(lists["scene"]),
            torch.tensor(lists["corner"]),
            torch.tensor(lists["degrees"]),
            lists["geometry"] and Geometry.from_lists(lists["geometry"]),
            tuple(Photometry.from_lists(one) for one in lists["photometry"]),
            tuple(lists["modalities"]),
        )


def patch_places(scenes: Sequence[Scene], size: int) -> list[Places]:
    """Where patches can be cut: inside the scene, centred on content, in its mask.

    Content means that every modality is above its own least value there: the empty background
    of a skull-stripped brain teaches nothing. Nine tenths of a patch must lie in the mask.

    Args:
        scenes: to cut from.
        size: height and width of the patches, in pixels.

    Returns:
        One a scene.

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
        cell = max(1, math.ceil(math.sqrt(height * width / _CELLS)))
        allowed = torch.stack([_content(scene, m, cell) for m in scene.images]).all(0)
        if scene.mask is not None:
            allowed &= _centres_in_mask(scene, size, cell)
        first, last = ((size // 2) // cell, [(size // 2 + n - size) // cell for n in scene.size])
        centred = allowed[first : last[0] + 1, first : last[1] + 1].nonzero() + first
        if not len(centred):
            raise ValueError(
                f"scene {scene.name}: expected content inside it for {size} px patches, found none."
            )
        places.append(Places(size, scene.size, cell, centred.int()))
    return places


def _content(scene: Scene, modality: str, cell: int) -> Tensor:
    """Which cells of an image have a pixel above its least value in any channel."""
    height, width = scene.size
    at_once = cell * max(1, _CELLS // (cell * width))
    highest, least = [], torch.tensor(math.inf)
    for top in range(0, height, at_once):
        band = scene.window(modality, (top, min(top + at_once, height)))
        least = torch.minimum(least, band.amin((1, 2)))
        highest.append(F.max_pool2d(band, cell, ceil_mode=True))
    return (torch.cat(highest, dim=1) > least[:, None, None]).any(0)


def _centres_in_mask(scene: Scene, size: int, cell: int) -> Tensor:
    """Which cells are the centre of a patch that lies in the mask."""
    assert scene.mask is not None
    fraction = F.avg_pool2d(scene.mask[None].float(), cell, ceil_mode=True)
    cells = max(1, round(size / cell))
    before, after = cells // 2, cells - 1 - cells // 2
    padded = F.pad(fraction, (before, after, before, after))
    return F.avg_pool2d(padded, cells, stride=1)[0] >= _IN_MASK - 1e-6


def draw_patches(
    places: Sequence[Places],
    count: int,
    modalities: int,
    *,
    turns: int | None = None,
    scenes_at_once: int | None = None,
    augmentation: Augmentation | None = None,
    generator: torch.Generator,
) -> Draw:
    """Draw places, angles and what augmentation varies.

    Args:
        places: of :func:`patch_places`; every place of every scene is equally likely.
        count: number of patches.
        modalities: number of images of a scene.
        turns: every image is turned by its own angle: uniform over the circle if None, else over
            the multiples of 360 / turns degrees (4: quarter turns; 1: none).
        scenes_at_once: take all patches from so many scenes, drawn anew; from any if None. Few
            make the negatives hard: other places of the same tissue.
        augmentation: what else is varied; nothing if None.
        generator: the source of randomness.

    Returns:
        The parameters, for :func:`cut_patches`.
    """
    weights = torch.tensor([float(place.area) for place in places])
    if scenes_at_once is not None and scenes_at_once < len(places):
        few = torch.multinomial(weights, scenes_at_once, generator=generator)
        weights = torch.zeros_like(weights).index_copy(0, few, weights[few])
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    uniform = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    corner = torch.stack([places[int(s)].corner(u) for s, u in zip(chosen, uniform, strict=True)])
    circle = torch.rand(modalities, count, generator=generator)
    degrees = 360 * circle if turns is None else (circle * turns).floor() * (360 / turns)
    if augmentation is None:
        return Draw(chosen, corner, degrees)
    size = places[0].size
    geometry = augmenting.draw_geometry(augmentation, count, size, generator=generator)
    photometry = tuple(
        augmenting.draw_photometry(augmentation, count, generator=generator)
        for _ in range(modalities)
    )
    return Draw(chosen, corner, degrees, geometry, photometry)


def cut_patches(
    scenes: Sequence[Scene],
    draw: Draw,
    size: int,
    scalings: Mapping[str, Scaling] | None = None,
) -> list[Images]:
    """Cut the drawn patches, each modality turned by its own angle, with real context.

    Args:
        scenes: those that were drawn from.
        draw: the parameters.
        size: height and width, in pixels.
        scalings: of the intensities, by modality, which photometry expects of about 0 to 1; as
            they are if None.

    Returns:
        One tensor a modality, (batch, channels, size, size): the image turned by ``degrees`` as
        ``torch.rot90`` turns, resampled bilinearly once; beyond the scene it is reflected, which
        only corners outside the inscribed disk can see.
    """
    stacks = []
    for index, modality in enumerate(draw.modalities or scenes[0].images):
        places = _sources(draw, index, size)
        which = zip(draw.scene.tolist(), draw.corner.tolist(), places, strict=True)
        patches = torch.stack([_look_up(scenes[s], modality, c, at) for s, c, at in which])
        if scalings is not None:
            patches = scalings[modality](patches)
        if draw.photometry:
            patches = augmenting.change_light(patches, draw.photometry[index])
        stacks.append(patches)
    return stacks


def _sources(draw: Draw, modality: int, size: int) -> Tensor:
    """Where each pixel of each patch comes from, beside its corner, (batch, 2, size, size)."""
    along = torch.arange(size, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(along, along, indexing="ij")).flatten(1)
    at = _mapped(rotations(-draw.degrees[modality].double(), size, size), pixels)
    if draw.geometry is not None:
        if bool(draw.geometry.knots.any()):
            field = augmenting.displacement(draw.geometry, size)
            on_field = (2 * at / max(size - 1, 1) - 1).flip(1).transpose(1, 2)
            moved = F.grid_sample(
                field, on_field[:, None], "bilinear", "border", align_corners=True
            )
            at = at + moved[:, :, 0]
        at = _mapped(augmenting.matrices(draw.geometry, size), at)
    return at.reshape(len(at), 2, size, size)


def _mapped(matrices: Tensor, points: Tensor) -> Tensor:
    """Points (2, n) or (batch, 2, n), in float32, by (batch, 3, 3)."""
    single = matrices.float()
    mapped: Tensor = single[:, :2, :2] @ points + single[:, :2, 2:]
    return mapped


def _look_up(scene: Scene, modality: str, corner: tuple[int, int], at: Tensor) -> Image:
    """Bilinear values of one image at (2, size, size) places beside a corner.

    Beyond the border of the scene it is reflected about its border pixels.
    """
    low, high = _bounds(at)
    last = [n - 1 for n in scene.size]
    if any(c + i < 0 or c + j > n for c, i, j, n in zip(corner, low, high, last, strict=True)):
        extent = torch.tensor(last)[:, None, None]
        absolute = at + torch.tensor(corner)[:, None, None]
        at = extent - (absolute.remainder(2 * extent) - extent).abs()
        corner, (low, high) = (0, 0), _bounds(at)
    past = [min(c + j, n) + 1 for c, j, n in zip(corner, high, last, strict=True)]
    first = [c + i for c, i in zip(corner, low, strict=True)]
    window = scene.window(modality, (first[0], past[0]), (first[1], past[1]))
    steps = [2 / max(n - 1, 1) for n in window.shape[1:]]
    # grid_sample asks for (column, row), from -1 to 1 over the window.
    row, column = ((at[i] - low[i]) * steps[i] - 1 for i in (0, 1))
    grid = torch.stack([column, row], dim=-1)[None].to(window)
    return F.grid_sample(window[None], grid, "bilinear", "border", align_corners=True)[0]


def _bounds(at: Tensor) -> tuple[list[int], list[int]]:
    """Whole numbers around (2, height, width) places: the lowest, the highest."""
    lowest, highest = at.flatten(1).aminmax(dim=1)
    return lowest.floor().int().tolist(), highest.ceil().int().tolist()
