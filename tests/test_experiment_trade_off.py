"""Detail against success: who is on the front, and whether the two go together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equicomir.experiment.rows import Row
from equicomir.experiment.trade_off import front, learned, trade_off


def row(name: str, success: float, coherence: float | None) -> Row:
    detail = {} if coherence is None else {"coherence_between": coherence}
    return Row(
        "made_up",
        100,
        name,
        3,
        50,
        success,
        (0.1, 0.0),
        1.0,
        0.01,
        detail,
        0.3,
        60.0,
        training=name,
    )


def drawn(seed: int, count: int) -> list[Row]:
    """Of few levels, so that there are ties; and one of raw images."""
    draw = np.random.default_rng(seed)
    return [
        *(row(f"{n}", draw.integers(5) / 4, draw.integers(5) / 4) for n in range(count)),
        row("raw", 1.0, None),
    ]


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_the_front_is_what_no_other_exceeds_and_exceeds_all_else(seed, count):
    rows = drawn(seed, count)
    kept = front(rows)
    assert kept
    assert "raw" not in {one.variant for one in kept}

    def exceeds(one, other):
        first, second = (one.coherence, one.success), (other.coherence, other.success)
        return all(a >= b for a, b in zip(first, second, strict=True)) and first != second

    for one in learned(rows):
        assert (one in kept) == (not any(exceeds(other, one) for other in learned(rows)))
    assert [one.success for one in kept] == sorted((one.success for one in kept), reverse=True)


@given(st.integers(0, 10**6), st.integers(3, 8))
def test_the_order_of_variants_changes_nothing(seed, count):
    rows = drawn(seed, count)
    shuffled = [rows[n] for n in np.random.default_rng(seed).permutation(len(rows))]
    assert trade_off(shuffled) == trade_off(rows)


@pytest.mark.parametrize(("coherences", "says"), [((1, 2, 3), "+1.00"), ((3, 2, 1), "-1.00")])
def test_the_correlation_is_of_ranks(coherences, says):
    rows = [row(f"{n}", 0.2 * n, c / 10) for n, c in enumerate(coherences)]
    said = trade_off(rows)
    assert said is not None
    assert f"correlation of {says}" in said
    assert said.startswith("made_up, 100 px: over 3 trainings")


def test_a_training_is_one_point_whatever_registers_through_it():
    rows = [row(f"{n}", 0.2 * n, n / 10) for n in range(3)]
    twice = [*rows, replace(rows[1], variant="1, filtered", success=0.1)]
    assert trade_off(twice) == trade_off(rows)
    another = [*rows, row("1, trained anew", 0.1, 0.1)]  # the control: as much, and not the same
    assert "over 4 trainings" in str(trade_off(another))


def test_the_front_is_told_with_its_numbers():
    rows = [row("sharp", 0.4, 0.9), row("blunt", 0.8, 0.2), row("poor", 0.3, 0.1)]
    said = trade_off(rows)
    assert said is not None
    assert said.endswith("none exceeds in both: blunt (0.200, 80 %), sharp (0.900, 40 %)")


@pytest.mark.parametrize(
    "rows",
    [
        [row("a", 0.1, 0.2), row("b", 0.2, 0.3), row("raw", 0.1, None)],
        [row(f"{n}", 0.1 * n, 0.2) for n in range(4)],
        [row(f"{n}", 0.5, 0.1 * n) for n in range(4)],
        [],
    ],
)
def test_too_little_says_nothing(rows):
    assert trade_off(rows) is None
