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
    few = {name: draw(st.booleans()) for name in names}  # a column of texts alone, as of modalities
    return [
        {name: draw(st.sampled_from("ab")) if few[name] else draw(VALUES) for name in names}
        for _ in range(count)
    ]


@given(pairs())
def test_what_is_written_by_columns_is_read_again_to_the_type(given_pairs):
    """By way of JSON; 1, 1.0 and True are equal to Python, and not the same."""
    again = lines(json.loads(json.dumps(columns(given_pairs))))
    assert json.dumps(again) == json.dumps(given_pairs)


def test_what_all_share_is_written_once():
    made = [{"scene": "a field of a long name", "row": n} for n in range(100)]
    assert columns(made)["scene"] == made[0]["scene"]
    assert len(json.dumps(columns(made))) < len(json.dumps(made)) / 8


def test_names_are_written_once_with_a_digit_a_pair():
    made = [{"fixed": ("phase_contrast", "nfh")[n % 2]} for n in range(50)]
    assert columns(made)["fixed"] == {"texts": ["phase_contrast", "nfh"], "which": "01" * 25}
    many = [{"scene": f"slice{n}"} for n in range(11)]
    assert columns(many)["scene"] == [pair["scene"] for pair in many]  # the control: no digit is 10


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"texts": ["a"]},
        {"texts": ["a"], "which": "01"},
        {"texts": ["a"], "which": "-0"},
        {"texts": ["a"], "which": ""},
        {"texts": [1], "which": "00"},
        {"texts": "ab", "which": "01"},
        {"texts": ["a", "b"], "which": [0, 1]},
    ],
)
def test_a_damaged_column_of_texts_is_refused(damage):
    with pytest.raises(ValueError, match="fixed: expected texts and which of them"):
        lines({"count": 2, "fixed": damage})


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
