"""Pairs with a known displacement, and how far from it a registration ends.

The protocol: a fixed patch is cut from one modality; the moving patch from the other after the
scene was turned about the patch's centre and translated, with real context. One list of pairs,
drawn once from a seed and written to a file, serves every method.

Source:
    Lu, Öfverstedt, Lindblad, Sladoje, PLOS ONE 2022, doi 10.1371/journal.pone.0276196; seeded,
    and extended by the level ``any``, whose rotation is anything up to half a turn.
"""

import csv
import math
import time
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
#: A corner error of at most this fraction of the width is a success.
SUCCESS_FRACTION = 0.02


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
        where the scene is too small for that, over those that have the patch.

    Raises:
        ValueError: no place of the scenes will do.
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
    enough = np.ones(len(rows), dtype=bool)
    for modality in modalities:
        image = scene.images[modality].numpy()
        above = (image > image.min(axis=(1, 2), keepdims=True)).any(axis=0)
        total = np.pad(above.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        inside = (
            total[rows + width, columns + width]
            - total[rows, columns + width]
            - total[rows + width, columns]
            + total[rows, columns]
        )
        enough &= inside >= least_content * width**2
    return np.stack([rows[enough], columns[enough]], axis=1)


def write_pairs(path: Path, pairs: Iterable[TestPair]) -> None:
    """Write the list as CSV, one line a pair."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(TestPair)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(pair) for pair in pairs)


def read_pairs(path: Path) -> list[TestPair]:
    """Read a list that :func:`write_pairs` wrote.

    Raises:
        ValueError: the file is not such a list; it is named.
    """
    try:
        with path.open(newline="") as file:
            return [
                TestPair(**{f.name: _TYPES[f.name](line[f.name]) for f in fields(TestPair)})
                for line in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected a list of test pairs, got: {error}.") from error


_TYPES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("level", "fixed", "moving", "scene"), str),
    **dict.fromkeys(("row", "column", "width"), int),
    **dict.fromkeys(("rotation_degrees", "translation_rows", "translation_columns"), float),
}


def cut_pair(pair: TestPair, scenes: Mapping[str, Scene]) -> tuple[Array, Array, ArrayMask]:
    """The patches of one pair, in the instruments' own units.

    Args:
        pair: of the list.
        scenes: by name.

    Returns:
        The fixed patch (channels, width, width), the moving patch likewise (resampled once, by
        cubic convolution), and the moving mask, false where the scene has no context.

    Raises:
        KeyError: the scene or modality is not there.
    """
    scene, w = scenes[pair.scene], pair.width
    fixed = scene.images[pair.fixed][:, pair.row : pair.row + w, pair.column : pair.column + w]
    patch_to_scene = rigid(0, (pair.row, pair.column)) @ pair.moving_to_fixed()
    image = scene.images[pair.moving].double()[None]
    moving, inside = warp_image(image, patch_to_scene, size=(w, w))
    return fixed.double().numpy(), moving[0].numpy(), inside.numpy()


def corner_error(truth: Matrix, found: Matrix, width: int) -> float:
    """Mean distance, in pixels, between the corners mapped by the two transforms.

    Example:
        >>> corner_error(np.eye(3), rigid(0, (3, 4)), 64)
        5.0
    """
    points = corners(width, width)
    gap = transform_points(truth, points) - transform_points(found, points)
    return float(np.linalg.norm(gap, axis=1).mean())


#: Takes fixed, moving, moving mask, and the names of both modalities; gives the matrix.
Method = Callable[[Array, Array, ArrayMask, tuple[str, str]], Matrix]


@dataclass(frozen=True)
class Outcome:
    """What one method made of one pair.

    Attributes:
        pair: the line of the list.
        corner_error: in pixels; infinite where the method raised.
        seconds: wall time of the method.
        failure: the message of what it raised, or empty.
    """

    pair: TestPair
    corner_error: float
    seconds: float
    failure: str = ""

    @property
    def success(self) -> bool:
        """Whether the corner error is at most 2 % of the width."""
        return self.corner_error <= SUCCESS_FRACTION * self.pair.width


def evaluate(method: Method, pairs: Sequence[TestPair], scenes: Sequence[Scene]) -> list[Outcome]:
    """Run a method over the list; one that raises has failed that pair.

    Args:
        method: sees the two patches, the mask and the modalities' names, and nothing else.
        pairs: the list.
        scenes: of the test part.

    Returns:
        One outcome a pair, in the list's order.
    """
    by_name = {scene.name: scene for scene in scenes}
    outcomes = []
    for pair in pairs:
        fixed, moving, mask = cut_pair(pair, by_name)
        begun, failure = time.perf_counter(), ""
        try:
            found = method(fixed, moving, mask, (pair.fixed, pair.moving))
            error = corner_error(pair.moving_to_fixed(), found, pair.width)
        except ImportError:
            raise  # a method that is not installed has not failed
        except Exception as raised:  # whatever a method raises is its failure at this pair
            error, failure = math.inf, f"{type(raised).__name__}: {raised}"
        seconds = time.perf_counter() - begun
        outcomes.append(Outcome(pair, error, seconds, failure))
    return outcomes


@dataclass(frozen=True)
class Summary:
    """Success of one method on some pairs.

    Attributes:
        pairs: how many.
        success: rate, in [0, 1].
        low: lower end of its 95 % Wilson interval, in [0, 1].
        high: upper end.
        median_error: corner error of the successes, in pixels; NaN without any.
        seconds: median time a pair.
    """

    pairs: int
    success: float
    low: float
    high: float
    median_error: float
    seconds: float


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Success rate with its 95 % Wilson interval, over the pairs as if they were independent.

    Raises:
        ValueError: there is no outcome.

    Source:
        Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    if not outcomes:
        raise ValueError("outcomes: expected at least one, got none.")
    n, z = len(outcomes), 1.959964
    good = [o.corner_error for o in outcomes if o.success]
    rate = len(good) / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    median = float(np.median(good)) if good else math.nan
    seconds = float(np.median([o.seconds for o in outcomes]))
    return Summary(n, rate, max(0.0, centre - half), min(1.0, centre + half), median, seconds)
