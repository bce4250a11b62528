"""Pairs with a known displacement: the list that every method is given.

The protocol: a fixed patch is cut from one modality; the moving patch from the other after the
scene was turned about the patch's centre and translated, with real context. One list of pairs,
drawn once from a seed and written to a file, serves every method.

Source:
    Lu, Öfverstedt, Lindblad, Sladoje, PLOS ONE 2022, doi 10.1371/journal.pone.0276196; seeded,
    and extended by the level ``any``, whose rotation is anything up to half a turn.
"""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from equicomir.geometry import corners, image_centre, rigid, transform_points, warp_image
from equicomir.images.pairs import Scene
from equicomir.shapes import Array, ArrayMask, Matrix

#: level: (least, greatest rotation in degrees; least, greatest translation as a fraction of width)
LEVELS: Mapping[str, tuple[float, float, float, float]] = {
    "1": (0, 5, 0, 0.0233),
    "2": (5, 10, 0.0233, 0.0467),
    "3": (10, 15, 0.0467, 0.07),
    "4": (15, 20, 0.07, 0.0933),
    "any": (0, 180, 0, 0.0933),
}


@dataclass(frozen=True)
class TestPair:
    """One line of the list: where, how far, and which modality is fixed.

    Attributes:
        level: of :data:`LEVELS`.
        fixed: modality of the fixed patch.
        moving: modality of the moving patch.
        scene: name of the scene.
        row: of the patch's first pixel in the scene.
        column: likewise.
        width: height and width of the patch, in pixels.
        rotation_degrees: of the scene, about the patch's centre.
        translation_rows: of the scene, in pixels, after the rotation.
        translation_columns: likewise.
    """

    __test__ = False  # not a test case, whatever its name suggests to pytest

    level: str
    fixed: str
    moving: str
    scene: str
    row: int
    column: int
    width: int
    rotation_degrees: float
    translation_rows: float
    translation_columns: float

    def moving_to_fixed(self) -> Matrix:
        """The true transform of this pair."""
        translation = (self.translation_rows, self.translation_columns)
        centre = image_centre(self.width, self.width)
        matrix: Matrix = np.linalg.inv(rigid(self.rotation_degrees, translation, centre=centre))
        return matrix


def draw_pairs(
    scenes: Sequence[Scene],
    modalities: tuple[str, str],
    width: int,
    count: int,
    *,
    levels: Iterable[str] = tuple(LEVELS),
    least_content: float = 0.0,
    generator: np.random.Generator,
) -> list[TestPair]:
    """Draw the list: ``count`` pairs for each level and each direction.

    Args:
        scenes: of the test part.
        modalities: names; each is fixed once and moving once.
        width: of the patches, in pixels.
        count: pairs a level and direction.
        levels: of :data:`LEVELS`.
        least_content: fraction of the patch's pixels that must lie above the least value of
            their scene, in both modalities (tissue, where the background is zero).
        generator: the source of randomness.

    Returns:
        The list. Places are uniform over those whose whole displaced patch has real context;
        where the scene is too small for that, over those that have the patch. A fixed patch lies
        wholly in its scene's mask.

    Raises:
        ValueError: no place of the scenes will do.

    Source:
        Lu et al., PLOS ONE 2022, doi 10.1371/journal.pone.0276196, with :data:`LEVELS`.
    """
    places = {scene.name: _places(scene, modalities, width, least_content) for scene in scenes}
    names = [name for name, found in places.items() if len(found)]
    if not names:
        raise ValueError(
            f"width: expected scenes with room for {width} px patches that have content, got none."
        )
    pairs = []
    for level in levels:
        least_r, greatest_r, least_t, greatest_t = LEVELS[level]
        for fixed, moving in (modalities, modalities[::-1]):
            for _ in range(count):
                name = names[generator.integers(len(names))]
                row, column = places[name][generator.integers(len(places[name]))]
                signs = generator.choice([-1, 1], size=3)
                rotation = signs[0] * generator.uniform(least_r, greatest_r)
                shift = signs[1:] * generator.uniform(least_t, greatest_t, size=2) * width
                pairs.append(
                    TestPair(
                        level,
                        fixed,
                        moving,
                        name,
                        int(row),
                        int(column),
                        width,
                        round(float(rotation), 4),
                        round(float(shift[0]), 4),
                        round(float(shift[1]), 4),
                    )
                )
    return pairs


def _places(
    scene: Scene, modalities: tuple[str, str], width: int, least_content: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """First pixels (n, 2) of the patches of a scene that may be drawn."""
    context = math.ceil(width * ((math.sqrt(2) - 1) / 2 + math.sqrt(2) * 0.0933))
    allowed = []
    for extent in scene.size:
        margin = context if extent >= width + 2 * context else 0
        allowed.append(np.arange(margin, max(margin, extent - width - margin + 1)))
    rows, columns = (a.ravel() for a in np.meshgrid(*allowed, indexing="ij"))
    counted = [(np.asarray(scene.mask), 1.0)] if scene.mask is not None else []
    for modality in modalities:
        image = scene.window(modality).numpy()
        above = (image > image.min(axis=(1, 2), keepdims=True)).any(axis=0)
        counted.append((above, least_content))
    enough = np.ones(len(rows), dtype=bool)
    for pixels, least in counted:
        total = np.pad(pixels.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        inside = (
            total[rows + width, columns + width]
            - total[rows, columns + width]
            - total[rows + width, columns]
            + total[rows, columns]
        )
        enough &= inside >= least * width**2
    return np.stack([rows[enough], columns[enough]], axis=1)


def write_pairs(path: Path, pairs: Iterable[TestPair]) -> None:
    """Write the list as CSV, one line a pair.

    Args:
        path: of the file; its folder exists.
        pairs: to be written, in order.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> write_pairs(path, [])
        >>> read_pairs(path)
        []
    """
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(TestPair)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(pair) for pair in pairs)


def read_pairs(path: Path) -> list[TestPair]:
    """Read a list that :func:`write_pairs` wrote.

    Raises:
        ValueError: the file is not such a list; it is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> write_pairs(path, [])
        >>> read_pairs(path)
        []
    """
    try:
        with path.open(newline="") as file:
            return [
                TestPair(**{f.name: _TYPES[f.name](line[f.name]) for f in fields(TestPair)})
                for line in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a list of test pairs, got: {error}.") from error


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text}, which is no number")
    return number


_TYPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("level", "fixed", "moving", "scene"), str),
    **dict.fromkeys(("row", "column", "width"), int),
    **dict.fromkeys(("rotation_degrees", "translation_rows", "translation_columns"), _finite),
}


def cut_pair(pair: TestPair, scenes: Mapping[str, Scene]) -> tuple[Array, Array, ArrayMask]:
    """The patches of one pair, in the instruments' own units.

    Args:
        pair: of the list.
        scenes: by name.

    Returns:
        The fixed patch (channels, width, width), the moving patch likewise (resampled once, by
        cubic convolution), and the moving mask, false where the scene has no context or is
        masked out.

    Raises:
        KeyError: the scene or modality is not there.

    Source:
        Lu et al., PLOS ONE 2022, doi 10.1371/journal.pone.0276196; with real context in place of
        mirrored borders.
    """
    scene, w = scenes[pair.scene], pair.width
    rows, columns = (pair.row, pair.row + w), (pair.column, pair.column + w)
    fixed = scene.window(pair.fixed, rows, columns)
    patch_to_scene = rigid(0, (pair.row, pair.column)) @ pair.moving_to_fixed()
    at = transform_points(patch_to_scene, corners(w, w))
    margin = 3  # of the cubic kernel
    spans = [
        (max(0, math.floor(low) - margin), min(n, math.ceil(high) + margin + 1))
        for low, high, n in zip(at.min(axis=0), at.max(axis=0), scene.size, strict=True)
    ]
    # The window's border is the scene's, or lies beyond what the patch can see.
    patch_to_window = rigid(0, (-spans[0][0], -spans[1][0])) @ patch_to_scene
    image = scene.window(pair.moving, spans[0], spans[1]).double()[None]
    moving, inside = warp_image(image, patch_to_window, size=(w, w))
    if scene.mask is not None:
        mask = scene.mask[slice(*spans[0]), slice(*spans[1])].double()[None, None]
        inside &= warp_image(mask, patch_to_window, size=(w, w), mode="nearest")[0][0, 0] > 0.5
    return fixed.double().numpy(), moving[0].numpy(), inside.numpy()
