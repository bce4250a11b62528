"""The statistics on simulated experiments (drawn by the benchmark) and against other formulas."""

import importlib.util
import itertools
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from equicomir.evaluation import statistics, units
from equicomir.evaluation.statistics import Difference, difference
from equicomir.evaluation.verdicts import holm, judge

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "statistics_level.py"
SPEC = importlib.util.spec_from_file_location("statistics_level", SCRIPT)
simulated = importlib.util.module_from_spec(SPEC)
sys.modules["statistics_level"] = simulated  # dataclasses look their module up
SPEC.loader.exec_module(simulated)

studies = st.builds(
    simulated.Study,
    seeds=st.integers(2, 6),
    scenes=st.integers(2, 20),
    pairs=st.integers(40, 120),
    success=st.floats(0.3, 0.8),
    effect=st.floats(-0.2, 0.2),
    seed=st.floats(0, 0.1),
)
numbers = st.integers(0, 10**6)
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def drawn(study, number):
    (second, first), units = simulated.simulate(study, generator=np.random.default_rng(number))
    return first, second, units


def compare(first, second, units, resamples=199, number=1, **options):
    generator = np.random.default_rng(number)
    return difference(first, second, units, resamples=resamples, generator=generator, **options)


def made(estimate, spread, number=0, *, seeds=3, units=8, room=math.inf):
    """A difference with normal resamples, as judge() takes it."""
    deviations = np.abs(np.random.default_rng(number).normal(size=1999)) * spread
    return Difference(estimate, seeds, units, float(units), 100, room, np.sort(deviations))


# ---------------------------------------------------------------- the level, by simulation


def most(chance, experiments):
    """What an event of that chance stays below but once in a thousand times."""
    return stats.binom.ppf(0.999, experiments, chance) / experiments


@pytest.mark.parametrize(
    "study",
    [
        simulated.Study(),
        simulated.Study(scenes=5, pairs=100, seed=0.05, method_scene=0.1),
        simulated.Study(success=0.3, effect=0.1, scenes=8),
        simulated.Study(success=0.8, effect=-0.1, scenes=30, pairs=200),
    ],
)
def test_wrong_verdicts_are_rarer_than_one_in_twenty_and_intervals_cover(study):
    """No tolerance: these hold their level with room, and the draws are the same each time."""
    got = simulated.level(study, 800, 399, generator=np.random.default_rng(0))
    assert got.supported + got.refuted < 0.05
    assert got.covered > 0.95
    assert got.half_width < 2.2 * got.ideal_half_width  # not by saying nothing


def test_where_the_seeds_are_all_the_plain_bootstrap_errs_and_this_one_does_not():
    """The planted fault: percentiles over three seeds; the exact level here is 5 %."""
    luck = simulated.Study(scenes=30, pairs=150, seed=0.1, method_scene=0.02)
    got = simulated.level(luck, 1000, 399, generator=np.random.default_rng(0))
    assert got.supported + got.refuted < most(0.05, 1000)
    assert 1 - got.plain_covered > 2 * most(0.05, 1000)


def test_how_seeds_and_units_interact_is_counted_once():
    """Where the seeds' variance is twice that: a share taken off thrice would leave a third."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(3000):
        gap = rng.normal(size=(10, 1)) * math.sqrt(0.2) + rng.normal(size=(10, 10))
        found = difference(gap, np.zeros(10), range(10), resamples=299, generator=rng)
        missed += found.p_value(0.0) <= 0.05
    assert most(0.05, 3000) > missed / 3000 > 0.02


@given(st.lists(st.integers(1, 30), min_size=2, max_size=12))
def test_units_of_unequal_size_are_worth_fewer(sizes):
    """What the numbers are of: the variance that units show of values alike within each."""
    counts = np.array(sizes, dtype=float)
    units = np.repeat([f"{n}" for n in range(len(sizes))], sizes)
    values = np.random.default_rng(0).normal(size=(4000, len(sizes)))
    means = values @ counts / counts.sum()
    shown = np.square(counts * (values - means[:, None])).sum(1) / counts.sum() ** 2
    enlarged, freedom = statistics._spread_of_units(counts)
    assert enlarged * shown.mean() == pytest.approx(np.square(counts / counts.sum()).sum(), rel=0.2)
    assert freedom == pytest.approx(2 * shown.mean() ** 2 / shown.var(), rel=0.25)
    worth = compare(np.zeros(len(units)), np.zeros(len(units)), list(units)).worth
    assert 2 - 1e-9 <= worth <= len(sizes) + 1e-9
    assert (worth > len(sizes) - 1e-6) == (len(set(sizes)) == 1 or len(sizes) == 2)


@pytest.mark.parametrize("field", [f for f in simulated.FIELDS if f.reach <= units.BLOCK])
def test_blocks_of_a_real_field_err_no_more(field):
    got = simulated.level(field, 500, 299, generator=np.random.default_rng(0))
    assert got.supported + got.refuted < most(0.05, 500)


def test_units_of_unequal_size_that_were_counted_as_equal_would_err(monkeypatch):
    """The planted fault: as many degrees of freedom as units, less one."""
    sizes = (30, 20, 5, 5, 2, 2, 1)
    names = list(np.repeat([f"{n}" for n in range(len(sizes))], sizes))

    def missed():
        rng, found = np.random.default_rng(0), 0
        for _ in range(1500):
            gap = np.repeat(rng.normal(size=len(sizes)), sizes)
            one = difference(gap, np.zeros(len(names)), names, resamples=199, generator=rng)
            found += one.p_value(0.0) <= 0.05
        return found / 1500

    assert missed() < most(0.05, 1500)
    monkeypatch.setattr(
        statistics, "_spread_of_units", lambda n: (len(n) / (len(n) - 1), len(n) - 1.0)
    )
    assert missed() > 1.2 * most(0.05, 1500)


def test_a_margin_of_zero_and_no_difference():
    study = simulated.Study(scenes=10, pairs=120)
    assert study.truth() == 0
    got = simulated.level(study, 1000, 399, generator=np.random.default_rng(1))
    assert got.supported + got.refuted < 0.05


def test_a_family_errs_no_more_than_one_comparison():
    study = simulated.Study(effect=0.1, seed=0.02, scenes=20)
    truth = study.truth()
    for effects in ((truth,) * 3, (truth - 0.3, truth, truth)):
        generator = np.random.default_rng(0)
        wrong, right = simulated.family_level(study, effects, 150, 299, generator=generator)
        assert wrong < 0.05
        assert right > 0.95


def test_unadjusted_verdicts_would_err_more_often_in_a_family():
    """The planted fault of the law above, where there is no slack: exact normal resamples."""
    rng = np.random.default_rng(0)
    deviations = np.sort(np.abs(rng.normal(size=9999)))
    wrong = {"family": 0, "alone": 0}
    for _ in range(1000):
        family = [Difference(e, 3, 9, 9.0, 99, math.inf, deviations) for e in rng.normal(size=5)]
        judged = judge(family, [0.0] * 5)
        wrong["family"] += any(one.verdict != "inconclusive" for one in judged)
        assert all(one.low < 0 < one.high for one in judged) == all(
            one.verdict == "inconclusive" for one in judged
        )
        wrong["alone"] += any(judge([e], [0.0])[0].verdict != "inconclusive" for e in family)
    assert wrong["family"] / 1000 < most(0.05, 1000)
    assert wrong["alone"] / 1000 > 0.18


def test_a_clear_effect_is_found():
    study = simulated.Study(scenes=20, effect=0.3, seed=0.02)
    verdicts = []
    for number in range(100):
        one = compare(*drawn(study, number), number=number, greatest=1)
        verdicts.append(judge([one], [0.05])[0].verdict)
    assert verdicts.count("supported") > 80


# ---------------------------------------------------------------- laws of the difference


@given(studies, numbers)
def test_swapping_the_methods_flips_the_sign(study, number):
    first, second, units = drawn(study, number)
    there, back = compare(first, second, units), compare(second, first, units)
    assert math.isclose(there.estimate, -back.estimate, abs_tol=1e-12)
    np.testing.assert_allclose(there.deviations, back.deviations, atol=1e-12)
    judged = judge([there], [0.05])[0], judge([back], [-0.05])[0]
    mirrored = {"supported": "refuted", "refuted": "supported"}
    expected = mirrored.get(judged[0].verdict, judged[0].verdict)
    assert judged[1].verdict == expected
    np.testing.assert_allclose([judged[0].low, judged[0].high], [-judged[1].high, -judged[1].low])


@given(studies, numbers)
def test_the_order_of_the_pairs_does_not_matter(study, number):
    first, second, units = drawn(study, number)
    order = np.random.default_rng(number).permutation(len(units))
    one = compare(first, second, units)
    other = compare(first[:, order], second[:, order], [units[k] for k in order])
    assert math.isclose(one.estimate, other.estimate, abs_tol=1e-12)
    np.testing.assert_allclose(one.deviations, other.deviations, atol=1e-12)


@given(studies, numbers)
def test_order_of_seeds_and_names_of_units_matter_no_more_than_the_draw(study, number):
    first, second, units = drawn(replace(study, scenes=max(5, study.scenes)), number)
    rng = np.random.default_rng(number)
    order = rng.permutation(len(first))
    names = dict(zip(sorted(set(units)), rng.permutation(10**4).astype(str), strict=False))
    one = compare(first, second, units, 4999)
    other = compare(first[order], second[order], [names[u] for u in units], 4999)
    assert math.isclose(one.estimate, other.estimate, abs_tol=1e-12)
    for level in (0.5, 0.8):
        assert math.isclose(one.half_width(level), other.half_width(level), rel_tol=0.12)


@given(studies, numbers, st.integers(1, 50))
def test_failures_added_to_both_leave_the_difference_of_counts(study, number, more):
    first, second, units = drawn(study, number)
    failed = np.zeros((study.seeds, more))
    one = compare(first, second, units)
    longer = units + units[:1] * more
    other = compare(np.hstack([first, failed]), np.hstack([second, failed]), longer)
    counts = one.estimate * one.pairs, other.estimate * other.pairs
    assert math.isclose(*counts, abs_tol=1e-9)
    assert math.isclose(counts[0], (first - second).sum() / study.seeds, abs_tol=1e-9)


@given(studies, numbers, st.floats(-3, 3), st.floats(0.1, 10))
def test_offset_and_unit_of_the_numbers_carry_over(study, number, offset, factor):
    first, second, units = drawn(study, number)
    one = compare(first, second, units)
    other = compare(factor * first + offset, factor * second, units)
    assert math.isclose(other.estimate, factor * one.estimate + offset, abs_tol=1e-9)
    np.testing.assert_allclose(other.deviations, factor * one.deviations, atol=1e-9)


@given(studies, numbers, st.floats(-0.5, 0.5))
def test_p_values_and_intervals_say_the_same(study, number, effect):
    one = compare(*drawn(study, number))
    for level in (0.5, 0.9, 0.95):
        low, high = one.interval(level)
        assert (low <= effect <= high) == (one.p_value(effect) > 1 - level + 1e-12)


@given(studies, numbers, st.floats(-0.5, 0.5))
def test_a_p_value_counts_the_resamples_that_are_as_far(study, number, effect):
    one = compare(*drawn(study, number))
    as_far = sum(abs(one.estimate - effect) <= deviation for deviation in one.deviations)
    assert one.p_value(effect) == (1 + as_far) / (1 + len(one.deviations))
    assert one.p_value(one.estimate) == 1


@given(studies, numbers)
def test_intervals_widen_with_their_level(study, number):
    one = compare(*drawn(study, number))
    halves = [one.half_width(level) for level in (0.5, 0.8, 0.95, 0.99, 0.9999)]
    assert halves == sorted(halves)
    assert halves[-1] == math.inf  # 199 resamples cannot say


@given(numbers, st.integers(3, 6))
def test_with_the_luck_of_the_seeds_alone_it_is_students_interval(number, seeds):
    luck = np.random.default_rng(number).normal(size=(seeds, 1))
    gap = np.repeat(luck, 60, axis=1)
    units = [str(k % 12) for k in range(60)]
    found = compare(gap, np.zeros(60), units, 19999)
    expected = stats.sem(luck[:, 0]) * stats.t.ppf(0.975, seeds - 1)
    assert math.isclose(found.half_width(), expected, rel_tol=0.06)


@given(numbers, st.integers(12, 60))
def test_without_training_it_is_students_interval_over_the_units(number, count):
    values = np.random.default_rng(number).normal(size=count)
    found = compare(np.repeat(values, 2), np.zeros(2 * count), sorted(2 * [*range(count)]), 9999)
    expected = stats.sem(values) * stats.t.ppf(0.975, count - 1)
    assert found.seeds == 0
    assert math.isclose(found.half_width(), expected, rel_tol=0.12)


@given(studies, numbers)
def test_pairs_repeated_within_their_units_are_no_evidence(study, number):
    """The control: as units of their own they narrow the interval."""
    first, second, units = drawn(replace(study, scenes=20), number)
    one = compare(first, second, units)
    again = compare(np.tile(first, 9), np.tile(second, 9), units * 9)
    np.testing.assert_allclose(one.deviations, again.deviations, atol=1e-12)
    tiled = np.tile(first[0], 9), np.tile(second[0], 9)
    alone = compare(*tiled, [*range(9 * len(units))])
    assert alone.half_width() < compare(first[0], second[0], units).half_width()


def test_ten_thousand_resamples_take_well_under_a_second():
    first, second, units = drawn(simulated.Study(pairs=400, scenes=40), 0)
    begun = time.process_time()
    compare(first, second, units, 10_000)
    assert time.process_time() - begun < 0.5


# ---------------------------------------------------------------- Holm, and verdicts


def naive_holm(p_values):
    m, done, adjusted, last = len(p_values), set(), [None] * len(p_values), 0.0
    for step in range(m):
        index = min((k for k in range(m) if k not in done), key=lambda k: p_values[k])
        last = max(last, min(1.0, (m - step) * p_values[index]))
        adjusted[index] = last
        done.add(index)
    return adjusted


def closed_bonferroni(p_values):
    """Holm's is the closed test: the worst Bonferroni over all subfamilies with the member."""
    members = range(len(p_values))
    families = [s for n in members for s in itertools.combinations(members, n + 1)]
    return [
        max(min(1.0, len(s) * min(p_values[k] for k in s)) for s in families if i in s)
        for i in members
    ]


@given(probabilities)
def test_holm_is_the_naive_loop_and_the_closed_test(p_values):
    np.testing.assert_allclose(holm(p_values), naive_holm(p_values), rtol=1e-12)
    np.testing.assert_allclose(holm(p_values), closed_bonferroni(p_values), rtol=1e-12)


@given(probabilities, st.data())
def test_holm_is_monotone_and_knows_no_order(p_values, data):
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    by_p = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[by_p]) >= 0).all()
    order = data.draw(st.permutations(range(len(p_values))))
    np.testing.assert_array_equal(holm([p_values[k] for k in order]), adjusted[list(order)])
    index = data.draw(st.sampled_from(order))
    smaller = [p * (0.5 if k == index else 1.0) for k, p in enumerate(p_values)]
    assert (holm(smaller) <= adjusted).all()


families = st.lists(
    st.tuples(st.floats(-0.5, 0.5), st.floats(0.01, 0.2), numbers), min_size=1, max_size=6
)


@given(families, st.floats(-0.2, 0.2))
def test_verdicts_are_what_the_intervals_say(given_family, effect):
    family = [made(*one) for one in given_family]
    for one in judge(family, [effect] * len(family)):
        assert one.low <= one.high
        assert (one.verdict == "supported") == (one.low >= effect and one.p_value <= 0.05 + 1e-9)
        assert (one.verdict == "refuted") == (one.high <= effect and one.p_value <= 0.05 + 1e-9)
        if one.verdict == "inconclusive":
            assert one.low <= effect <= one.high


@given(families, st.floats(-0.2, 0.2))
def test_a_comparison_alone_has_the_plain_interval_and_a_family_none_narrower(some, effect):
    family = [made(*one) for one in some]
    together = judge(family, [effect] * len(family))
    for one, within in zip(family, together, strict=True):
        (alone,) = judge([one], [effect])
        low, high = one.interval()
        np.testing.assert_allclose((alone.low, alone.high), (low, high), atol=1e-12)
        assert within.low <= max(low, effect) + 1e-12
        assert within.high >= min(high, effect) - 1e-12
        assert within.verdict in (alone.verdict, "inconclusive")
        assert within.p_value >= alone.p_value - 1e-12


@given(families, st.floats(-0.2, 0.2), st.integers(0, 9))
def test_what_was_planned_and_not_made_counts_as_what_decides_nothing(some, effect, missing):
    family = [made(*one) for one in some]
    nothing = [made(effect, 0.1)] * missing  # p is 1
    named = judge(family, [effect] * len(family), family=len(family) + missing)
    given_too = judge([*family, *nothing], [effect] * (len(family) + missing))
    assert named == given_too[: len(family)]


@given(families, st.floats(-0.2, 0.2))
def test_steps_that_are_decided_make_room_for_the_rest(some, effect):
    """Holm finds whatever Bonferroni finds, and the ends are those the docstring states."""
    family = [made(*one) for one in some]
    m = len(family)
    judged = judge(family, [effect] * m)
    for one, found in zip(family, judged, strict=True):
        low, high = one.interval(1 - 0.05 / m)
        if low > effect:
            assert found.verdict == "supported"
        if high < effect:
            assert found.verdict == "refuted"
    left = [k for k in range(m) if judged[k].verdict != "supported"]
    for k in left:
        expected = family[k].interval(1 - 0.05 / len(left))[0]
        assert math.isclose(judged[k].low, expected, abs_tol=1e-12)
    for k in set(range(m)) - set(left):
        expected = effect if left else max(effect, family[k].interval(1 - 0.05 / m)[0])
        assert math.isclose(judged[k].low, expected, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (made(0.5, 0.01, seeds=2), "2 training seeds"),
        (made(-0.5, 0.01, seeds=1), "1 training seeds"),
        (made(0.5, 0.01, units=4), "4 independent units"),
        (made(0.02, 0.05, room=0.03), "the reference leaves room for 0.03"),
        (made(0.1, 0.2, room=0.4), "would have to be above"),
    ],
)
def test_too_small_an_experiment_says_so(one, words):
    (judged,) = judge([one], [0.05])
    assert judged.verdict == "inconclusive: too small"
    assert words in judged.reason


def test_what_is_refuted_needs_no_room():
    (judged,) = judge([made(-0.3, 0.05, room=0.03)], [0.05])
    assert (judged.verdict, judged.reason) == ("refuted", "")


def test_one_seed_or_one_unit_shows_no_spread():
    first, second, units = drawn(simulated.Study(seeds=1), 0)
    assert compare(first, second, units).interval() == (-math.inf, math.inf)
    first, second, units = drawn(simulated.Study(), 0)
    one = compare(first, second, ["field"] * len(units))
    assert one.interval() == (-math.inf, math.inf)
    assert judge([one], [0.05])[0].verdict == "inconclusive: too small"


def test_a_method_without_training_is_compared_with_every_seed():
    first, second, units = drawn(simulated.Study(), 0)
    one = compare(first, second[0], units)
    other = compare(first, np.repeat(second[:1], 3, axis=0), units)
    assert one.seeds == 3
    np.testing.assert_array_equal(one.deviations, other.deviations)
    assert compare(first[0], second[0], units).seeds == 0


def test_room_is_what_the_reference_leaves():
    first, second, units = drawn(simulated.Study(success=0.8), 0)
    assert math.isclose(compare(first, second, units, greatest=1).room, 1 - second.mean())
    assert compare(first, second, units).room == math.inf


# ---------------------------------------------------------------- bad input

ONES, UNITS = np.ones((3, 4)), ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("first", "second", "units", "words"),
    [
        (np.ones((3, 5)), ONES, UNITS, "expected the same pairs and as many seeds"),
        (np.ones((2, 4)), ONES, UNITS, "expected the same pairs and as many seeds"),
        (np.ones((1, 3, 4)), ONES, UNITS, "first: expected"),
        (ONES, np.ones((3, 0)), UNITS, "second: expected"),
        (ONES, np.full((3, 4), np.inf), UNITS, "second: expected finite numbers"),
        (ONES, ONES, UNITS[:3], "units: expected one a pair"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, units, words):
    with pytest.raises(ValueError, match=words):
        compare(first, second, units)


def test_other_arguments_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match="resamples: expected at least 1"):
        compare(ONES, ONES, UNITS, resamples=0)
    with pytest.raises(ValueError, match="p_values: expected"):
        holm([0.5, math.nan])
    with pytest.raises(ValueError, match="smallest_effects: expected one a difference"):
        judge([made(0.1, 0.1)], [])
    with pytest.raises(ValueError, match="smallest_effects: expected one a difference"):
        judge([], [])
    with pytest.raises(ValueError, match="level: expected"):
        judge([made(0.1, 0.1)], [0.0], level=95)
    with pytest.raises(ValueError, match="family: expected at least 1, got 0"):
        judge([made(0.1, 0.1)], [0.0], family=0)
