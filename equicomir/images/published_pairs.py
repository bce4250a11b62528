"""Lu's moved test pairs: a published truth for every pair, in this project's coordinates.

The set that others report on, so its pairs are taken as they are: the same lists, levels and folds.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from equicomir.geometry import rotation_degrees, transform_points
from equicomir.images.listing import SceneFiles
from equicomir.images.published_readers import below
from equicomir.shapes import Matrix, Points

#: Of Lu's sets, the groups of images that are tested in each of the three folds: satellite images
#: by number, cells by line. The histological set is published without folds.
LU_FOLDS: dict[str, tuple[frozenset[str], ...]] = {
    "Zurich": (
        frozenset({"zh3", "zh7", "zh9", "zh15", "zh18", "zh20"}),
        frozenset({"zh1", "zh4", "zh6", "zh10", "zh11", "zh13", "zh16"}),
        frozenset({"zh2", "zh5", "zh8", "zh12", "zh14", "zh17", "zh19"}),
    ),
    "Balvan": (frozenset({"DU145"}), frozenset({"PNT1A"}), frozenset({"LNCaP"})),
}
_LU_ENDINGS = {"Zurich": ".png", "Balvan": ".png", "Eliceiri": ".tif"}


@dataclass(frozen=True, eq=False)
class MovedPair:
    """A published test pair and its truth.

    Attributes:
        name: as in the publisher's list.
        fixed: the reference patch of one modality.
        moving: the transformed patch of the other.
        fixed_corners: of the reference patch, (4, 2), (row, column), in pixels.
        moving_corners: where the corners of the transformed patch lie in the reference.
        moving_to_fixed: 3 x 3, fitted to the corners; its registration recovers this.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_corners: Points
    moving_corners: Points
    moving_to_fixed: Matrix


def moved_pairs(
    folder: Path, subset: str, *, level: int, fold: int | None = None, fixed: str = "A"
) -> tuple[MovedPair, ...]:
    """Lu's test pairs of one level of displacement, with their truths, as published.

    The published coordinates are (x, y), a turn in them is the other way round in (row, column),
    and their "transformed corners" are where the moving patch lies in the fixed one: all that
    is undone here.

    Args:
        folder: that holds ``Zurich_patches`` and the others, at any depth.
        subset: ``"Zurich"`` (72 pairs a fold), ``"Balvan"`` (420) or ``"Eliceiri"`` (134).
        level: 1 to 4.
        fold: 1 to 3; None for Eliceiri, which has none.
        fixed: the modality of the reference, ``"A"`` or ``"B"``; moving is the other. The
            published direction is ``"A"``.

    Returns:
        One pair a line of ``info_test.csv``, in its order.

    Raises:
        ValueError: the subset, level or fold does not exist; a file, column or number is
            missing; an image is of another fold; the truth is not rigid.

    Example:
        A patch moved by 7 pixels along the rows, 2 along the columns, and not turned.

        >>> import tempfile
        >>> level = Path(tempfile.mkdtemp()) / "Eliceiri_patches" / "patch_tlevel1"
        >>> for path in ("A/test/1B_A4_R.tif", "B/test/1B_A4_T.tif"):
        ...     (level / path).parent.mkdir(parents=True)
        ...     (level / path).touch()
        >>> corners = [(0, 0), (0, 834), (834, 834), (834, 0)]  # x, y
        >>> line = {"Filename": "1B_A4", "AngleDegree": 0}
        >>> for n, (x, y) in enumerate(corners, 1):
        ...     line |= {f"X{n}_Ref": x, f"Y{n}_Ref": y, f"X{n}_Trans": x + 2, f"Y{n}_Trans": y + 7}
        >>> text = ",".join(line) + chr(10) + ",".join(map(str, line.values()))
        >>> _ = (level / "info_test.csv").write_text(text)
        >>> pair = moved_pairs(level.parent.parent, "Eliceiri", level=1)[0]
        >>> pair.moving.name, pair.moving_to_fixed[:2, 2].tolist()
        ('1B_A4_T.tif', [7.0, 2.0])

    Source:
        Lu et al., doi 10.1371/journal.pone.0276196; data set, doi 10.5281/zenodo.5557568.
    """
    if fixed not in ("A", "B"):
        raise ValueError(f'fixed: expected "A" or "B", got {fixed!r}.')
    table = _lu_table(folder, subset, level, fold)
    ending = _LU_ENDINGS[subset]
    moving = "B" if fixed == "A" else "A"
    pairs = []
    for line in _lines(table):
        name = line["Filename"] or ""
        _check_fold(table, subset, fold, name)
        files = [
            _existing(table.parent / modality / "test" / f"{name}_{kind}{ending}", table)
            for modality, kind in ((fixed, "R"), (moving, "T"))
        ]
        reference, transformed = (_corners(table, line, which) for which in ("Ref", "Trans"))
        truth = _rigid_fit(reference, transformed)
        off = np.abs(transform_points(truth, reference) - transformed).max()
        angle = line.get("AngleDegree") or math.nan  # (x, y) turn the other way round
        turn = abs(math.remainder(rotation_degrees(truth) + float(angle), 360))
        if off > 0.01 or turn > 0.01:
            raise ValueError(
                f"{table}: expected corners of {name} moved rigidly by AngleDegree, got {off:.3g} "
                f"pixels and {turn:.3g} degrees beside it; fetch the set again."
            )
        pairs.append(MovedPair(name, files[0], files[1], reference, transformed, truth))
    return tuple(pairs)


def reference_scenes(folder: Path, subset: str, *, fold: int) -> tuple[SceneFiles, ...]:
    """Aligned patches to learn from in one fold: the references of the two other folds.

    Args:
        folder: as for :func:`moved_pairs`.
        subset: ``"Zurich"`` or ``"Balvan"``.
        fold: 1 to 3, whose own images are left out.

    Returns:
        Scenes of the modalities A and B, none of an image that the fold tests.

    Raises:
        ValueError: as :func:`moved_pairs`; or Eliceiri is asked for, which has no folds.
    """
    if subset == "Eliceiri":
        raise ValueError("subset: expected Zurich or Balvan, got Eliceiri, which has no folds.")
    _lu_folder(subset, 1, fold)
    scenes = []
    for other in (other for other in (1, 2, 3) if other != fold):
        table = _lu_table(folder, subset, 1, other)  # references are the same at every level
        for line in _lines(table):
            name = line["Filename"] or ""
            _check_fold(table, subset, other, name)
            file = f"{name}_R{_LU_ENDINGS[subset]}"
            files = {m: _existing(table.parent / m / "test" / file, table) for m in ("A", "B")}
            scenes.append(SceneFiles(name, files))
    return tuple(scenes)


def _lu_folder(subset: str, level: int, fold: int | None) -> str:
    if subset not in _LU_ENDINGS:
        raise ValueError(f"subset: expected {', '.join(_LU_ENDINGS)}, got {subset!r}.")
    if level not in (1, 2, 3, 4):
        raise ValueError(f"level: expected 1 to 4, got {level!r}.")
    if subset not in LU_FOLDS:
        if fold is not None:
            raise ValueError(f"fold: expected None, {subset} has no folds, got {fold!r}.")
        return f"{subset}_patches/patch_tlevel{level}"
    if fold not in (1, 2, 3):
        raise ValueError(f"fold: expected 1 to 3 for {subset}, got {fold!r}.")
    return f"{subset}_patches/fold{fold}/patch_tlevel{level}"


def _lu_table(folder: Path, subset: str, level: int, fold: int | None) -> Path:
    return below(folder, f"{_lu_folder(subset, level, fold)}/info_test.csv")


def _existing(path: Path, because: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: expected this file, since {because.name} names it, found none.")
    return path


def _lines(table: Path) -> list[dict[str, str]]:
    """Lines of a table by its header, whatever other columns it has."""
    needed = ["Filename", *(f"{a}{n}_{w}" for w in ("Ref", "Trans") for n in "1234" for a in "XY")]
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in needed if column not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(
                f"{table}: expected the column {missing[0]}, got "
                f"{', '.join(reader.fieldnames or ['none'])}; fetch the set again."
            )
        lines = list(reader)
    if not lines:
        raise ValueError(f"{table}: expected pairs, got none; fetch the set again.")
    return lines


def _check_fold(table: Path, subset: str, fold: int | None, name: str) -> None:
    if fold is None:
        return
    group, others = name.split("_")[0], LU_FOLDS[subset][fold - 1]
    if group not in others:
        raise ValueError(
            f"{table}: expected images of fold {fold} ({', '.join(sorted(others))}), got {name}; "
            f"fetch the set again."
        )


def _corners(table: Path, line: dict[str, str], which: str) -> Points:
    try:
        points = [[float(line[f"{axis}{n}_{which}"]) for axis in "YX"] for n in (1, 2, 3, 4)]
        if not np.isfinite(points).all():
            raise ValueError("not finite")
    except (TypeError, ValueError) as error:  # a short line has None
        raise ValueError(
            f"{table}: expected four corners {which} of {line['Filename']} as numbers, got "
            f"otherwise; fetch the set again."
        ) from error
    return np.array(points)


def _rigid_fit(source: Points, target: Points) -> Matrix:
    """The rotation and translation that take points nearest, by least squares."""
    centred, moved = source - source.mean(axis=0), target - target.mean(axis=0)
    cosine = (centred * moved).sum()
    sine = (centred[:, 0] * moved[:, 1] - centred[:, 1] * moved[:, 0]).sum()
    turn = math.atan2(sine, cosine)
    matrix = np.eye(3)
    matrix[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    matrix[:2, 2] = target.mean(axis=0) - matrix[:2, :2] @ source.mean(axis=0)
    return matrix
