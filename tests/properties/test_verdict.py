"""The laws of the verdict: what it must not see, what must lower it, and when it says no."""

import json
import math
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import few, numbers, seeds

from equicomir.geometry import image_centre, rigid, transform_points
from equicomir.images.instruments import BRIGHTFIELD
from equicomir.images.phantoms import render
from equicomir.images.tissues import cells, fibres, vessels
from equicomir.registration import features, information, search
from equicomir.registration.alignment import Alignment, not_found
from equicomir.registration.evidence import (
    Evidence,
    agreement,
    exactness,
    gather,
    lead,
    overlap,
)
from equicomir.registration.halves import opposite_quadrants, prediction
from equicomir.registration.verdict import (
    Calibration,
    confidence,
    fit,
    judged,
    method_name,
    read_calibration,
    write_calibrations,
)

KINDS = st.sampled_from([fibres, cells, vessels])
angles = st.floats(-180, 180)
SIZE = (40, 40)
NAMES = [f.name for f in fields(Evidence)]
LOWEST = (0.0, -1.0, -3.0, 0.0, 0.0, 0.0, -6.0, 0.0, 0.0)
HIGHEST = (1.0, 1.0, 6.0, 1.0, 1.0, 1.0, 12.0, 1.0, 1.0)
pieces = st.builds(
    Evidence,
    **{name: st.floats(low, high) for name, low, high in zip(NAMES, LOWEST, HIGHEST, strict=True)},
)


def seen(kind, seed, matrix=None):
    """One phantom without noise, from one place."""
    description = kind(SIZE, generator=torch.Generator().manual_seed(seed))
    return render(description, BRIGHTFIELD, SIZE, matrix)[0].double().numpy()


def turned(degrees):
    return rigid(degrees, (2, -1), centre=image_centre(*SIZE))


# Evidence -----------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9))
def test_the_halves_share_nothing_and_a_quarter_turn_exchanges_them(height, width):
    one, other = opposite_quadrants(height, width)
    assert not (one & other).any()
    assert one.sum() == other.sum() == (height // 2) * (width // 2) * 2
    here = opposite_quadrants(width, height)
    assert (np.rot90(one) == here[1]).all()
    assert (np.rot90(other) == here[0]).all()
    left = np.arange(width) < np.full((height, 1), width // 2)  # the plain control
    if height == width > 1:
        assert not any((np.rot90(left) == half).all() for half in (left, ~left))


@given(seeds(), st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.integers(1, 3))
def test_what_is_a_cubic_of_the_moving_image_is_predicted_and_noise_is_not(
    generator, powers, channels
):
    assume(max(map(abs, powers)) > 0.1)
    size, everywhere = (channels, *SIZE), np.ones(SIZE, dtype=bool)
    moving, noise = (
        torch.rand(size, generator=generator, dtype=torch.float64).numpy() for _ in range(2)
    )
    fixed = np.polyval([*powers, 0.5], moving.mean(axis=0))
    masks = everywhere, everywhere
    # Brightness beyond three standard deviations is taken for that: not all of the cubic is seen.
    assert prediction(np.eye(3), fixed, moving, *masks) == pytest.approx(1, abs=1e-3)
    assert prediction(np.eye(3), noise, moving, *masks) < 0.3
    assert prediction(rigid(90, centre=image_centre(*SIZE)), fixed, moving, *masks) < 0.3
    # What the moving image is where it is not seen says nothing.
    hidden = everywhere.copy()
    hidden[:9] = False
    spoiled = np.where(hidden, moving, 7.0)
    seen = prediction(np.eye(3), fixed, spoiled, everywhere, hidden)
    assert seen == pytest.approx(1, abs=1e-3)


@given(angles, st.tuples(st.floats(-9, 9), st.floats(-9, 9)), seeds(), st.integers(3, 8))
def test_overlap_equals_a_double_loop(degrees, shift, generator, side):
    draw = np.random.default_rng(generator.initial_seed())
    fixed, moving = (draw.random((side, n)) < 0.7 for n in (side, side + 1))
    assume(fixed.any() and moving.any())
    matrix = rigid(degrees, shift, centre=image_centre(side, side))
    count = 0
    for r in range(side):
        for c in range(side):
            i, j = np.rint(transform_points(np.linalg.inv(matrix), np.array([[r, c]]))[0])
            if 0 <= i < side and 0 <= j <= side and fixed[r, c]:
                count += moving[int(i), int(j)]
    expected = min(1, count / min(fixed.sum(), moving.sum()))
    assert overlap(matrix, fixed, moving) == pytest.approx(expected)


@given(angles, st.floats(0, 40), st.floats(0, 40))
def test_agreement_falls_with_the_distance_and_knows_no_order(degrees, near, far):
    one = rigid(degrees, (1, 2))
    nearer, further = (rigid(0, (d, 0)) @ one for d in sorted((near, far)))
    assert agreement(one, one, SIZE) == 1.0
    assert agreement(one, nearer, SIZE) == pytest.approx(agreement(nearer, one, SIZE))
    assert 0 <= agreement(one, further, SIZE) <= agreement(one, nearer, SIZE)
    # Not so the plain distance of the shifts, for which a turn alone is no distance at all.
    assert agreement(rigid(0, (1, 2)), rigid(180, (1, 2)), SIZE) == 0


@given(seeds(), st.integers(8, 40), angles, angles, st.floats(0.1, 9), st.floats(-9, 9))
def test_a_lead_sees_neither_the_zero_of_angles_nor_the_scale_of_scores(
    generator, count, degrees, turn, factor, shift
):
    scores = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
    around = [360 * k / count for k in range(count)]
    gaps = [abs((a - degrees + 180) % 360 - 180) for a in around]
    assume(all(abs(gap - 15) > 1e-6 for gap in gaps))
    plain = lead(list(zip(around, scores, strict=True)), degrees)
    near = [s for s, gap in zip(scores, gaps, strict=True) if gap <= 15]
    far = [s for s, gap in zip(scores, gaps, strict=True) if gap > 15]
    if near:
        naive = (max(near) - max(far)) / np.std(far)
        assert plain == pytest.approx(min(6, max(-3, naive)))
    changed = [((a + turn) % 360, factor * s + shift) for a, s in zip(around, scores, strict=True)]
    assert lead(changed, degrees + turn) == pytest.approx(plain, abs=1e-6)


def test_a_lead_without_anything_to_compare_is_none():
    assert lead([], 3.0) == 0
    assert lead([(0.0, 1.0)], 3.0) == 0
    assert lead([(0.0, -math.inf), (90.0, -math.inf)], 0.0) == 0
    assert lead([(0.0, 1.0), (90.0, 0.5), (180.0, 0.5)], 0.0) == 6
    assert lead([(0.0, 0.1), (90.0, 0.5), (180.0, 0.5)], 0.0) == -3


@given(KINDS, numbers, angles, st.floats(0, 360), st.integers(1, 3))
@few(5)
def test_exactness_falls_with_an_error_on_which_all_looks_agree(
    kind, seed, degrees, towards, quarters
):
    everywhere = np.ones(SIZE, dtype=bool)
    fixed, moving = seen(kind, seed), -np.exp(seen(kind, seed, turned(degrees)))
    away = (math.cos(math.radians(towards)), math.sin(math.radians(towards)))
    values = [
        exactness(rigid(0, shift) @ turned(degrees), fixed, moving, everywhere, everywhere)
        for shift in ((0.0, 0.0), (0.6 * away[0], 0.6 * away[1]), (1.6 * away[0], 1.6 * away[1]))
    ]
    assert values[0] > values[1] > values[2]
    turn = rigid(90 * quarters, centre=image_centre(*SIZE))
    both = [np.rot90(image, quarters).copy() for image in (fixed, moving)]
    again = exactness(turn @ turned(degrees) @ np.linalg.inv(turn), *both, everywhere, everywhere)
    assert again == pytest.approx(values[0], abs=0.02)
    # A method that misses alike in every look agrees with itself: the plain control.
    wrong = rigid(0, away) @ turned(degrees)
    _, evidence = gather(places(wrong, np.linalg.inv(wrong), wrong), *marked(fixed, moving))
    assert min(evidence.directions, evidence.worse_half) > 0.999
    assert evidence.exactness < values[0] - 0.05


def test_exactness_without_anything_to_climb_is_none():
    image, everywhere = seen(cells, 0), np.ones(SIZE, dtype=bool)
    for matrix in (np.diag([0.0, 0.0, 1.0]), rigid(0, (100, 0))):
        assert exactness(matrix, image, image, everywhere, everywhere) == 0


# What the verdict must not see --------------------------------------------------------------


@given(KINDS, numbers, angles, st.integers(1, 3), st.floats(0.1, 100), st.floats(-10, 10))
@few(2)
def test_turning_both_or_brightening_one_changes_no_confidence(
    kind, seed, degrees, quarters, factor, shift
):
    calibration = read_calibration(search.register)
    fixed, moving = seen(kind, seed), seen(kind, seed, turned(degrees))
    plain = judged(search.register, fixed, moving, calibration=calibration)
    both = [np.rot90(image, quarters).copy() for image in (fixed, moving)]
    again = judged(search.register, *both, calibration=calibration)
    assert again.confidence == pytest.approx(plain.confidence, abs=0.1)
    if abs(plain.confidence - calibration.threshold) > 0.1:  # else it may be on either side
        assert again.trusted == plain.trusted
    brighter = judged(search.register, factor * fixed + shift, moving, calibration=calibration)
    assert brighter.confidence == pytest.approx(plain.confidence, abs=1e-3)


# When it says yes and when no ---------------------------------------------------------------


@given(st.lists(st.tuples(KINDS, numbers), min_size=3, max_size=3), angles)
@few(1)
def test_one_scene_is_trusted_and_two_are_not(scenes, degrees):
    """Of three, one may be misjudged: the calibration admits a few in a thousand."""
    calibration, judgements = read_calibration(search.register), []
    for kind, seed in scenes:
        fixed = seen(kind, seed)
        same, other = (
            judged(search.register, fixed, seen(kind, of, turned(degrees)), calibration=calibration)
            for of in (seed, seed + 1)
        )
        judgements.append((same.trusted, other.trusted))
        # A best place was found all the same: the score alone does not tell.
        assert other.score > 0
    right, wrong = np.sum(judgements, axis=0)
    assert right >= 2
    assert wrong <= 1


def test_keypoints_are_judged_without_any_score_by_angle():
    calibration = read_calibration(features.register)
    fixed, other = np.random.default_rng(0).normal(size=(2, 16, 16)).repeat(8, 1).repeat(8, 2)
    right, wrong = (
        judged(features.register, fixed, image, calibration=calibration)
        for image in (np.rot90(fixed).copy(), other)
    )
    assert right.confidence > 0.9 > 0.1 > wrong.confidence
    assert (right.trusted, wrong.trusted) == (True, False)


def places(whole, back, half):
    """A method whose answers are known: of the pair, of the other direction, and of each half."""

    def register(fixed, moving, *, fixed_mask=None, moving_mask=None):
        if fixed_mask is not None and not fixed_mask.all():
            return Alignment(half, 1.0)
        return Alignment(back if fixed[0, 0] else whole, 1.0)

    return register


def trusted_when_agreeing(register, **weights):
    return Calibration(method_name(register), tuple(weights.get(n, 0.0) for n in NAMES), -6.0, 0.9)


def images():
    return marked(*np.random.default_rng(0).random((2, *SIZE)))


def marked(fixed, moving):
    """By a corner of which the methods of :func:`places` tell them apart."""
    fixed, moving = fixed.copy(), moving.copy()
    fixed[0, 0], moving[0, 0] = 0, 1
    return fixed, moving


@given(st.sampled_from(["directions", "worse_half"]), angles, st.floats(15, 40))
def test_disagreement_is_seen_and_a_verdict_blind_to_it_is_not(which, degrees, away):
    whole = turned(degrees)
    wrong = rigid(0, (away, away)) @ whole
    agreeing = places(whole, np.linalg.inv(whole), whole)
    differing = {
        "directions": places(whole, np.linalg.inv(wrong), whole),
        "worse_half": places(whole, np.linalg.inv(whole), wrong),
    }[which]
    weights = {"directions": 5.0, "worse_half": 5.0}
    for method, trusted in ((agreeing, True), (differing, False)):
        calibration = trusted_when_agreeing(method, **weights)
        assert judged(method, *images(), calibration=calibration).trusted == trusted
    other = next(name for name in weights if name != which)
    blind = trusted_when_agreeing(differing, **{other: 10.0})
    assert judged(differing, *images(), calibration=blind).trusted  # the planted fault


def test_the_rest_of_an_alignment_stays_as_it_is():
    method = places(turned(20), np.linalg.inv(turned(20)), turned(20))
    plain = method(*images())
    found = judged(method, *images(), calibration=trusted_when_agreeing(method, directions=9.0))
    assert found.confidence == pytest.approx(1 / (1 + math.exp(6 - 9)))
    assert set(found.evidence) == set(NAMES)
    assert replace(found, confidence=0, trusted=False, moving_to_fixed=0, evidence={}) == replace(
        plain, confidence=0, moving_to_fixed=0
    )


def test_a_failure_is_never_trusted():
    def register(fixed, moving, *, fixed_mask=None, moving_mask=None):
        return not_found("Nothing was found.")

    sure = Calibration(method_name(register), (0.0,) * len(NAMES), 50.0, 0.5)
    found = judged(register, *images(), calibration=sure)
    assert (found.confidence, found.trusted) == (0.0, False)
    assert found.failure == "Nothing was found."


def test_a_half_without_content_agrees_with_nothing():
    fixed = seen(cells, 0)
    one, _ = opposite_quadrants(*SIZE)
    fixed[one] = 0
    found, evidence = gather(search.register, fixed, fixed.copy())
    assert not found.failure
    assert evidence.worse_half == 0
    assert evidence.directions > 0.8


@given(seeds(), st.sampled_from(["fixed", "moving"]))
def test_nothing_is_predicted_from_or_of_a_half_without_content(generator, flat):
    image = torch.rand(SIZE, generator=generator, dtype=torch.float64).numpy()
    everywhere = np.ones(SIZE, dtype=bool)
    for half in opposite_quadrants(*SIZE):
        pair = {"fixed": image, "moving": image}
        pair[flat] = np.where(half, 0.3, image)
        assert prediction(np.eye(3), **pair, fixed_mask=everywhere, moving_mask=everywhere) == 0


# The fit ------------------------------------------------------------------------------------


def drawn(generator, count, slopes):
    """Evidence, and whether it is right: with the given slopes of the logit."""
    draw = np.random.default_rng(generator.initial_seed())
    x = draw.uniform(LOWEST, HIGHEST, (count, len(NAMES)))
    logits = (x - x.mean(0)) @ np.array(slopes)
    answerable = draw.random(count) < 0.6
    right = (draw.random(count) < 1 / (1 + np.exp(-logits))) & answerable
    return [Evidence(*map(float, row)) for row in x], right.tolist(), answerable.tolist()


@given(seeds(), st.lists(st.floats(-3, 3), min_size=9, max_size=9))
def test_a_fit_is_calibrated_and_never_falls_with_evidence(generator, slopes):
    found, right, answerable = drawn(generator, 300, slopes)
    assume(5 <= sum(right) <= 295)
    calibration = fit(search.register, found, right, answerable)
    assert min(calibration.weights) >= 0
    values = [confidence(e, calibration) for e in found]
    # As many are right as the confidences say; not so with another intercept.
    assert np.mean(values) == pytest.approx(np.mean(right), abs=2e-3)
    shifted = replace(calibration, intercept=calibration.intercept + 0.5)
    assert np.mean([confidence(e, shifted) for e in found]) > np.mean(right) + 2e-3
    unanswered = [v for v, a in zip(values, answerable, strict=True) if not a]
    assert np.mean(np.array(unanswered) >= calibration.threshold) <= 0.005
    assert calibration.threshold >= 0.5


@pytest.mark.parametrize("outcome", [0, 1, 2])
@pytest.mark.parametrize("count", [4, 5])
@given(generator=seeds())
def test_five_pairs_of_each_outcome_are_enough_and_four_are_not(generator, outcome, count):
    found, _, _ = drawn(generator, 60, [0.0] * len(NAMES))
    counts = [20, 20, 20]
    counts[outcome] = count
    right = [True] * counts[0] + [False] * (counts[1] + counts[2])
    # What has no answer is wrong as well: of the wrong ones none are left where all are right.
    answerable = [True] * (counts[0] + counts[1]) + [False] * counts[2]
    of = found[: len(right)]
    if outcome == 1:  # the method failed at all that have no answer
        of = [e if one else None for e, one in zip(of, answerable, strict=True)]
    if count >= 5:
        assert fit(search.register, of, right, answerable).threshold >= 0.5
    else:
        with pytest.raises(ValueError, match=f"at least 5 pairs .*got .*{count}"):
            fit(search.register, of, right, answerable)


@given(pieces, st.sampled_from(NAMES), st.floats(0, 3))
def test_the_packaged_confidences_fall_with_no_evidence(evidence, name, more):
    for method in (search.register, information.register, features.register):
        calibration = read_calibration(method)
        greater = replace(evidence, **{name: getattr(evidence, name) + more})
        assert 0 <= confidence(evidence, calibration) <= confidence(greater, calibration) <= 1


def test_evidence_that_never_differs_weighs_nothing():
    found, right, answerable = drawn(
        torch.Generator().manual_seed(1), 200, [0, 0, 2, 0, 0, 0, 0, 0, 0]
    )
    found = [replace(e, overlap=0.7) for e in found]
    calibration = fit(search.register, found, right, answerable)
    assert calibration.weights[0] == 0
    # A weight counts as much as its evidence can differ.
    worth = np.array(calibration.weights) * np.subtract(HIGHEST, LOWEST)
    assert worth.argmax() == 2
    assert worth[2] > 0


# What is refused ----------------------------------------------------------------------------


def test_calibrations_are_written_and_read(tmp_path):
    found = [
        Calibration(method_name(search.register), (0.5,) * 9, -1.0, 0.75, {"part": "validation"}),
        Calibration(method_name(partial(search.register, mirrors=True)), (1.0,) * 9, 0.0, 0.9),
    ]
    write_calibrations(tmp_path / "c.json", found)
    assert read_calibration(search.register, tmp_path / "c.json") == found[0]
    assert read_calibration(partial(search.register, mirrors=True), tmp_path / "c.json") == found[1]


def damaged(**changes):
    entry = {
        "method": "m",
        "weights": [0.0] * len(NAMES),
        "intercept": 0.0,
        "threshold": 0.9,
        "fitted_on": {},
        **changes,
    }
    return json.dumps({"evidence": NAMES, "calibrations": [entry]})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "expected calibrations"),
        (json.dumps({"evidence": NAMES[1:], "calibrations": []}), "it weighs"),
        (damaged(weights=[0.0] * 8), "weights: expected one for each of overlap"),
        (damaged(weights=[-1.0] * 9), "weights: expected none below zero"),
        (damaged(weights=None), "expected calibrations"),
        (damaged(intercept=math.nan), "intercept: expected a finite number, got nan"),
        (damaged(threshold=0), r"threshold: expected a value in \(0, 1\], got 0"),
        (damaged(), "expected a calibration of equicomir.registration.search.register, got those"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(text, reason, tmp_path):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match=reason) as refused:
        read_calibration(search.register, tmp_path / "c.json")
    assert str(refused.value).startswith(str(tmp_path / "c.json"))
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=r"missing\.json: expected calibrations"):
        read_calibration(search.register, tmp_path / "missing.json")


@pytest.mark.parametrize(
    "method", [information.register, partial(search.register, minimum_overlap=0.7)]
)
def test_a_calibration_of_another_method_is_refused(method):
    with pytest.raises(ValueError, match=r"calibration: expected one of .*, got one of .*search"):
        judged(method, *images(), calibration=read_calibration(search.register))


def test_too_few_pairs_are_refused():
    found, right, answerable = drawn(torch.Generator().manual_seed(0), 60, [0.0] * len(NAMES))
    with pytest.raises(ValueError, match="at least 5 pairs that are right"):
        fit(search.register, found, [False] * 60, answerable)
    with pytest.raises(ValueError, match=r"right, answerable: expected one a pair \(60\)"):
        fit(search.register, found, right[1:], answerable)
    with pytest.raises(ValueError, match="no pair without an answer among the right ones"):
        fit(search.register, found, [True] * 60, [False] * 60)


def test_what_the_method_refuses_is_refused():
    calibration = read_calibration(search.register)
    with pytest.raises(ValueError, match="fixed: expected an image with content"):
        judged(search.register, np.ones(SIZE), images()[1], calibration=calibration)
