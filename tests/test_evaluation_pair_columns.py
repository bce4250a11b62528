"""The pairs of a record by columns: nothing is lost, and what all share is written once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equicomir.evaluation import records
from equicomir.evaluation.pair_columns import columns, lines

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False), st.text(max_size=2)
)


@st.composite
def pairs(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=4), max_size=4, unique=True))
    names = [name for name in names if name != "count"]
    count = draw(st.integers(1, 5)) if names else 0
    return [{name: draw(VALUES) for name in names} for _ in range(count)]


@given(pairs())
def test_what_is_written_by_columns_is_read_again_to_the_type(given_pairs):
    """By way of JSON; 1, 1.0 and True are equal to Python, and not the same."""
    again = lines(json.loads(json.dumps(columns(given_pairs))))
    assert json.dumps(again) == json.dumps(given_pairs)


def test_what_all_share_is_written_once():
    made = [{"scene": "a field of a long name", "row": n} for n in range(100)]
    assert columns(made)["scene"] == made[0]["scene"]
    assert len(json.dumps(columns(made))) < len(json.dumps(made)) / 8


@pytest.mark.parametrize("damage", [{}, {"count": "2"}, {"count": None}, {"cou~t": 2}])
def test_a_damaged_count_is_no_crash(tmp_path, damage):
    with pytest.raises(ValueError, match="count: expected how many pairs there are"):
        lines({**damage, "width": 64})
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({"pairs": damage}) + "\n" + json.dumps({"pairs": []}) + "\n")
    with pytest.raises(ValueError, match="expected a record in line 1, got something else"):
        records.read(path)


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="row: expected 3 values, got 2"):
        lines({"count": 3, "width": 64, "row": [1, 2]})
