"""Points that a person marked in the moving image, as a file that comes back with other places.

A table (CSV), or GeoJSON as QuPath writes it. Whatever else the file says of its points, names,
classes, measurements, is theirs and is kept.
"""

import copy
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from equicomir.shapes import Points

_GEOJSON = (".geojson", ".json")
#: Where the parts of what is no geometry itself stand.
_INNER = {
    "FeatureCollection": ("features",),
    "Feature": ("geometry", "nucleusGeometry"),  # the second is QuPath's, of a cell
    "GeometryCollection": ("geometries",),
}
#: In how many lists the positions of a geometry stand.
_DEPTH = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_CORNER = 0.5  # GeoJSON of images counts from the outer corner of the first pixel, not its centre
_DECIMALS = 4


@dataclass(frozen=True)
class Marked:
    """Points, and the file that they are of.

    Attributes:
        places: (n, 2), as (row, column) of pixel centres.
        content: of the file: columns and lines of a table, or what GeoJSON holds.
        ending: of the file's name, ``.csv`` for every table.
    """

    places: Points
    content: Any
    ending: str


def read_points(path: Path) -> Marked:
    """Read points of an image.

    Args:
        path: of GeoJSON where it ends in .geojson or .json, else of a CSV table with columns
            ``row`` and ``column``, in pixels, with pixel centres at whole numbers. GeoJSON has x
            (to the right) before y (down), in pixels from the outer corner of the first one, as
            QuPath writes them; the vertices of lines and polygons are points too.

    Returns:
        The points, with everything else that the file says.

    Raises:
        ValueError: there is no such file, or something in it is no point: it is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.geojson"
        >>> size = path.write_text('{"type": "MultiPoint", "coordinates": [[20.5, 10.5], [0, 0]]}')
        >>> read_points(path).places.tolist()
        [[10.0, 20.0], [-0.5, -0.5]]
    """
    kind = "GeoJSON" if path.suffix.lower() in _GEOJSON else "a CSV table"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"{path}: expected {kind} of points, got: {reason}.") from error
    return _of_geojson(path, text) if kind == "GeoJSON" else _of_table(path, text)


def write_points(folder: Path, marked: Marked, places: Points) -> Path:
    """Write points as they came, at other places.

    Args:
        folder: for ``points_registered`` with the ending that the points came with.
        marked: as :func:`read_points` gives them.
        places: where each lies now, (n, 2), as (row, column) of pixel centres.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / f"points_registered{marked.ending}"
    if marked.ending in _GEOJSON:
        document = copy.deepcopy(marked.content)
        for position, (row, column) in zip(_positions(document), places.tolist(), strict=True):
            position[:2] = [round(column + _CORNER, _DECIMALS), round(row + _CORNER, _DECIMALS)]
        for part in _parts(document):
            for untrue in ("bbox", "isEllipse"):  # which QuPath draws by the box of its positions
                part.pop(untrue, None)
        path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
        return path
    columns, lines = marked.content
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for line, place in zip(lines, places.tolist(), strict=True):
            row, column = (repr(round(n, _DECIMALS)) for n in place)
            at = {"row": row, "column": column}
            writer.writerow([at.get(name, cell) for name, cell in zip(columns, line, strict=True)])
    return path


# ----------------------------------------------------------------------------------- CSV


def _of_table(path: Path, text: str) -> Marked:
    try:
        lines = [line for line in csv.reader(text.splitlines()) if line]
    except csv.Error as error:
        raise ValueError(f"{path}: expected a CSV table of points, got: {error}.") from None
    columns = [column.strip() for column in lines[0]] if lines else []
    if not {"row", "column"} <= set(columns) or len(set(columns)) < len(columns):
        raise ValueError(
            f"{path}: expected a first line with the columns row and column, in pixels, got "
            f"{', '.join(columns) or 'an empty file'}."
        )
    at = [columns.index(name) for name in ("row", "column")]
    places = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            if len(line) != len(columns):
                raise ValueError
            places.append([float(line[index]) for index in at])
            if not np.isfinite(places[-1]).all():
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{path}: expected a number for row and column, got {','.join(line)!r} in line "
                f"{number}."
            ) from None
    return Marked(np.array(places).reshape(-1, 2), (columns, lines[1:]), ".csv")


# ------------------------------------------------------------------------------- GeoJSON


def _of_geojson(path: Path, text: str) -> Marked:
    try:
        document = json.loads(text)
        found = [position[:2] for position in _positions(document)]
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path}: expected GeoJSON of points, got: {reason}.") from None
    places = np.array(found, dtype=np.float64).reshape(-1, 2)[:, ::-1] - _CORNER
    return Marked(places, document, path.suffix.lower())


def _parts(document: Any) -> Iterator[dict[str, Any]]:
    """Every collection, feature and geometry of GeoJSON, in order.

    Raises:
        ValueError: something is none of them.
    """
    if isinstance(document, list):  # of features, as QuPath writes them where nobody says how
        for part in document:
            yield from _parts(part)
        return
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or not (kind in _INNER or kind in _DEPTH):
        raise ValueError(f"{_short(document)} in place of a feature or geometry")
    yield document
    for name in _INNER.get(kind, ()):
        if document.get(name) is not None:
            yield from _parts(document[name])


def _positions(document: Any) -> Iterator[list[Any]]:
    """Every [x, y, ...] of GeoJSON, in order, as the list that stands in it.

    Raises:
        ValueError: something is none, or no GeoJSON.
    """
    for part in _parts(document):
        if part["type"] in _INNER:
            continue
        level: list[Any] = [part.get("coordinates")]
        for _ in range(_DEPTH[part["type"]]):
            for listed in level:
                if not isinstance(listed, list):
                    raise ValueError(f"{_short(listed)} in place of positions of a {part['type']}")
            level = [inner for listed in level for inner in listed]
        for position in level:
            listed = isinstance(position, list) and len(position) > 1
            if not (listed and all(map(_number, position))):
                raise ValueError(f"{_short(position)} in place of a position [x, y]")
            yield position


def _number(value: Any) -> bool:
    told = isinstance(value, int | float) and not isinstance(value, bool)
    return told and abs(value) <= sys.float_info.max  # JSON's whole numbers know no end


def _short(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
