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
    # Columns of texts alone, as of modalities, and of many that may begin alike, as of scenes.
    kinds = st.sampled_from([VALUES, st.sampled_from("ab"), st.text("ab0", max_size=9)])
    of = {name: draw(kinds) for name in names}
    count = draw(st.sampled_from([1, 2, 5, 12])) if names else 0
    return [{name: draw(of[name]) for name in names} for _ in range(count)]


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
    assert "which" not in columns(many)["scene"]  # the control: no digit is 10


def test_one_name_after_the_other_is_written_as_runs():
    made = [{"fixed": name} for name in ("T1", "T2") for _ in range(25)]
    assert columns(made)["fixed"] == {"texts": ["T1", "T2"], "runs": [25, 25]}
    # As many as a record may say are all alike, for what is read is to grow with what is written.
    more = [{"fixed": "T1"}, *[{"fixed": "T2"}] * 10_000]
    assert "runs" not in columns(more)["fixed"]
    assert lines(columns(more)) == more


def test_what_many_names_begin_with_is_written_once():
    made = [{"scene": f"patient26_slice{n:03d}"} for n in range(40, 90)]
    numbers = [f"{n:02d}" for n in range(40, 90)]
    assert columns(made)["scene"] == {"begin": "patient26_slice0", "rest": numbers}
    long = [{"scene": 500 * "x" + pair["scene"]} for pair in made]
    assert len(columns(long)["scene"]["begin"]) < 100  # what is read is bounded by what is written
    assert lines(columns(long)) == long
    others = [*made, {"scene": "core"}]
    assert columns(others)["scene"] == [pair["scene"] for pair in others]


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
        {"texts": ["a"], "runs": [1, 1]},
        {"texts": ["a", "b"], "runs": [2, 0]},
        {"texts": ["a", "b"], "runs": [3, -1]},
        {"texts": ["a", "b"], "runs": [True, True]},
        {"texts": ["a"], "runs": [10**9]},
        {"begin": "a"},
        {"begin": "a" * 10_000, "rest": ["a", "b"]},
        {"begin": 1, "rest": ["a", "b"]},
        {"begin": "a", "rest": "bc"},
        {"begin": "a", "rest": ["b", 1]},
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
    with pytest.raises(ValueError, match="scene: expected 3 values, got 2"):
        lines({"count": 3, "scene": {"begin": "slice", "rest": ["1", "2"]}})
    with pytest.raises(ValueError, match="fixed: expected 3 values, got 2"):
        lines({"count": 3, "fixed": {"texts": ["T1", "T2"], "runs": [1, 1]}})
    with pytest.raises(ValueError, match="row: expected 3 values, got 2"):
        lines({"count": 3, "width": 64, "row": [1, 2]})
