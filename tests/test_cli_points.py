"""Points of a person: read as they were meant, and given back with nothing lost but their place."""

import copy
import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from equicomir.commands.points import read_points, write_points
from equicomir.geometry import rigid, transform_points

NUMBERS = st.floats(-100, 1000).map(lambda x: round(x, 3)) | st.integers(-100, 1000)
POSITIONS = st.lists(NUMBERS, min_size=2, max_size=3)


def nested(depth):
    return POSITIONS if depth == 0 else st.lists(nested(depth - 1), max_size=3)


def geometry(kind, depth):
    return st.fixed_dictionaries(
        {"type": st.just(kind), "coordinates": nested(depth)},
        optional={"plane": st.just({"c": -1, "z": 0, "t": 0})},
    )


SIMPLE = st.one_of(
    geometry("Point", 0),
    geometry("MultiPoint", 1),
    geometry("LineString", 1),
    geometry("MultiLineString", 2),
    geometry("Polygon", 2),
    geometry("MultiPolygon", 3),
)
GEOMETRIES = SIMPLE | st.fixed_dictionaries(
    {"type": st.just("GeometryCollection"), "geometries": st.lists(SIMPLE, max_size=3)}
)
FEATURES = st.fixed_dictionaries(
    {
        "type": st.just("Feature"),
        "geometry": GEOMETRIES | st.none(),
        "properties": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    },
    optional={"id": st.uuids().map(str), "nucleusGeometry": SIMPLE},
)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("FeatureCollection"), "features": st.lists(FEATURES, max_size=4)}
    ),
    st.lists(FEATURES, max_size=4),
    FEATURES,
    GEOMETRIES,
)


def turned(value, matrix, name=""):
    """The document with every position moved, by a walk that knows nothing of its types."""
    if isinstance(value, dict):
        return {k: v if k == "properties" else turned(v, matrix, name=k) for k, v in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], int | float):
        x, y, *more = value
        row, column, _ = matrix @ [y - 0.5, x - 0.5, 1]
        return [column + 0.5, row + 0.5, *more]
    return [turned(v, matrix) for v in value] if isinstance(value, list) else value


def alike(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, int | float):
        return abs(one - other) < 2e-4
    return one == other


@given(document=DOCUMENTS, degrees=st.floats(1, 179), ending=st.sampled_from([".geojson", ".json"]))
def test_geojson_comes_back_the_same_but_for_its_places(
    tmp_path_factory, document, degrees, ending
):
    """And places taken as (row, column) are seen to be others."""
    folder = tmp_path_factory.mktemp("p")
    path, matrix = folder / f"pünktchen{ending}", rigid(degrees, (3, -8), centre=(20, 30))
    path.write_text(json.dumps(document), encoding="utf-8")
    marked = read_points(path)
    before = copy.deepcopy(marked.content)
    written = write_points(folder, marked, transform_points(matrix, marked.places))
    assert written == folder / f"points_registered{ending}"
    assert marked.content == before == document
    came = json.loads(written.read_text(encoding="utf-8"))
    assert alike(came, turned(document, matrix))
    wrong = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]]) @ matrix
    wrong = wrong @ np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    assert len(marked.places) == 0 or not alike(came, turned(document, wrong))


def test_a_pixel_of_qupath_is_that_pixel(tmp_path):
    """QuPath's first pixel reaches from (0, 0) to (1, 1); x goes to the right and comes first."""
    square = [[20, 10], [21, 10], [21, 11], [20, 11], [20, 10]]
    path = tmp_path / "pixel.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [square]}))
    places = read_points(path).places
    np.testing.assert_array_equal(places[:4].mean(0), (10, 20))


def test_what_turning_makes_untrue_is_taken_away(tmp_path):
    """QuPath draws an ellipse into the box of its vertices, which a turned one does not fill."""
    ellipse = {"type": "Polygon", "coordinates": [[[0, 2], [1, 0], [0, 2]]], "isEllipse": True}
    feature = {"type": "Feature", "bbox": [0, 0, 1, 2], "geometry": ellipse, "properties": {}}
    feature["properties"] = {"isEllipse": "as I say", "bbox": 3}
    path = tmp_path / "p.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    marked = read_points(path)
    (came,) = json.loads(write_points(tmp_path, marked, marked.places).read_text())["features"]
    assert came == {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": ellipse["coordinates"]},
        "properties": feature["properties"],
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("3", "3 in place of a feature or geometry"),
        ('{"type": "Circle"}', '{"type": "Circle"} in place of a feature or geometry'),
        ('{"type": ["Point"]}', '{"type": ["Point"]} in place of a feature or geometry'),
        ('[{"type": "Feature", "geometry": [3]}]', "3 in place of a feature"),
        ('{"type": "Point", "coordinates": 3}', "3 in place of a position [x, y]"),
        ('{"type": "Point", "coordinates": [3]}', "[3] in place of a position [x, y]"),
        ('{"type": "Point", "coordinates": [3, "4"]}', '[3, "4"] in place of a position'),
        ('{"type": "Point", "coordinates": [3, NaN]}', "[3, NaN] in place of a position"),
        ('{"type": "Point", "coordinates": [true, 1]}', "[true, 1] in place of a position"),
        ('{"type": "Polygon", "coordinates": [[1, 2]]}', "1 in place of a position"),
        ('{"type": "Polygon", "coordinates": [1, 2]}', "1 in place of positions of a Polygon"),
        ('{"type": "Polygon"}', "null in place of positions of a Polygon"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_geojson_is_refused_by_name(tmp_path, text, part):
    path = tmp_path / "größe.geojson"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected GeoJSON of points, got: ") as caught:
        read_points(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert part in str(caught.value)


def test_a_table_keeps_its_other_columns_and_may_have_no_lines(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("\ufeffcolumn , row,label\n", encoding="utf-8")
    marked = read_points(path)
    assert marked.places.shape == (0, 2)
    assert marked.content == (["column", "row", "label"], [])
    path.write_text('column,row,label\n3,4.5,"a, ß"\n', encoding="utf-8")
    marked = read_points(path)
    written = write_points(tmp_path, marked, marked.places + 1)
    assert written.read_text(encoding="utf-8") == 'column,row,label\n4.0,5.5,"a, ß"\n'


def test_points_that_are_not_there_are_told_by_the_kind_that_was_meant(tmp_path):
    with pytest.raises(ValueError, match="expected GeoJSON of points, got: No such file"):
        read_points(tmp_path / "p.GEOJSON")
    with pytest.raises(ValueError, match="expected a CSV table of points, got: No such file"):
        read_points(tmp_path / "p.csv")
