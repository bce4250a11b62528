"""Which pairs are independent: laws of the units over which an interval is taken."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from equicomir.evaluation.displacements import TestPair
from equicomir.evaluation.units import BLOCK, RUN, blocks, runs, scenes

PAIR = TestPair("any", "A", "B", "z0", 0, 0, 64, 10.0, 0.0, 0.0)
pairs = st.lists(
    st.builds(
        lambda scene, row, column: replace(PAIR, scene=f"z{scene:02d}", row=row, column=column),
        *(st.integers(0, 14), st.integers(0, 999), st.integers(0, 999)),
    ),
    min_size=1,
    max_size=20,
)
units = st.sampled_from([scenes, blocks, runs])


def alike(found):
    """Which of the pairs share a unit, as a matrix."""
    return np.array(found)[:, None] == np.array(found)[None, :]


@given(pairs)
def test_a_scene_is_one_unit_and_no_other_scene_is_in_it(listed):
    names = [pair.scene for pair in listed]
    assert np.array_equal(alike(scenes(listed)), alike(names))
    if len(set(names)) < len(names):  # planted fault: a patch is no unit
        patches = [str(place) for place, _ in enumerate(listed)]
        assert not np.array_equal(alike(patches), alike(names))


@given(pairs, units, st.randoms(use_true_random=False))
def test_the_order_of_the_list_says_nothing(listed, of, random):
    order = random.sample(range(len(listed)), len(listed))
    mixed = of([listed[place] for place in order])
    assert mixed == [of(listed)[place] for place in order]


@given(pairs)
def test_a_block_is_a_square_of_one_scene(listed):
    found = blocks(listed)
    for one, unit in zip(listed, found, strict=True):
        for other, its in zip(listed, found, strict=True):
            apart = max(abs(one.row - other.row), abs(one.column - other.column))
            if unit == its:
                assert one.scene == other.scene
                assert apart < BLOCK * one.width
            elif one.scene == other.scene:
                assert apart > 0


@given(pairs, st.integers(1, 300))
def test_the_middle_of_a_patch_says_which_block_it_is_in(listed, width):
    """In fractions, so that no rounding decides."""
    listed = [replace(pair, width=width) for pair in listed]
    side = 2 * Fraction(8, 5) * width
    middles = [[2 * at + width - 1 for at in (pair.row, pair.column)] for pair in listed]
    expected = [
        f"{pair.scene} {row // side} {column // side}"
        for pair, (row, column) in zip(listed, middles, strict=True)
    ]
    assert blocks(listed) == expected


@given(pairs)
def test_a_run_is_of_neighbouring_scenes_and_never_longer(listed):
    found, order = runs(listed), sorted({pair.scene for pair in listed})
    by_run = {}
    for pair, unit in zip(listed, found, strict=True):
        by_run.setdefault(unit, set()).add(order.index(pair.scene))
    for places in by_run.values():
        assert sorted(places) == list(range(min(places), max(places) + 1))
        assert len(places) <= RUN
    assert len(by_run) == -(-len(order) // RUN)
