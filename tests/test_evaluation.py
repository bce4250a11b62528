import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import seeds

from equicomir.encoders.plain import plain
from equicomir.encoders.steerable import steerable
from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome, corner_error, evaluate, summarise
from equicomir.evaluation.displacements import (
    LEVELS,
    cut_pair,
    draw_pairs,
    read_pairs,
    write_pairs,
)
from equicomir.evaluation.equivariance import equivariance_decibels, equivariance_error
from equicomir.geometry import rigid, transform_points, warp_image
from equicomir.images.pairs import Scene
from equicomir.images.sources import embedded

LISTS = Path(__file__).parent.parent / "benchmarks" / "pairs"


def scene(name="s", height=120, width=110):
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = torch.from_numpy(np.stack([rows, columns]).astype(np.float32)) + 1
    return Scene(name, {"A": image, "B": image})  # each pixel says where it is


def draw(seed=0, width=32, count=5, **options):
    generator = np.random.default_rng(seed)
    return draw_pairs([scene()], ("A", "B"), width, count, generator=generator, **options)


@given(st.integers(0, 10**6))
def test_the_moving_patch_lies_where_the_line_says(seed):
    """Read the coordinates off the patches: an error of half a pixel or of sign would show."""
    scenes = {"s": scene()}
    for pair in draw(seed, count=1):
        fixed, moving, mask = cut_pair(pair, scenes)
        assert mask.all()  # room for the context
        np.testing.assert_array_equal(fixed[:, 0, 0] - 1, [pair.row, pair.column])
        moving_points = np.array([[3.0, 5.0], [20.0, 9.0]])
        seen = moving[:, [3, 20], [5, 9]].T - 1  # where in the scene those pixels come from
        expected = transform_points(pair.moving_to_fixed(), moving_points)
        # Keys' kernel with a = -0.75 bends a ramp by up to 0.05.
        np.testing.assert_allclose(seen - [pair.row, pair.column], expected, atol=0.1)


@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 60))
def test_places_are_wherever_a_patch_fits_and_keep_their_context_where_there_is_room(
    seed, down, right
):
    width, context = 32, 11  # what a quarter turn and the greatest shift of level 4 reach
    height, length = width + down, width + right
    drawn = draw_pairs(
        [scene("s", height, length)], ("A", "B"), width, 30, generator=np.random.default_rng(seed)
    )
    for extent, places in (
        (height, {pair.row for pair in drawn}),
        (length, {pair.column for pair in drawn}),
    ):
        margin = context if extent >= width + 2 * context else 0
        assert margin <= min(places)
        assert max(places) <= extent - width - margin
        if extent - width - 2 * margin < 5:  # of few places all are drawn
            assert len(places) == extent - width - 2 * margin + 1


@given(st.integers(0, 10**6))
def test_displacements_keep_to_their_level_and_signs_vary(seed):
    pairs = draw(seed, count=20)
    assert len(pairs) == 20 * len(LEVELS) * 2
    for pair in pairs:
        least_r, greatest_r, least_t, greatest_t = LEVELS[pair.level]
        assert least_r - 1e-4 <= abs(pair.rotation_degrees) <= greatest_r + 1e-4
        for shift in (pair.translation_rows, pair.translation_columns):
            assert least_t * 32 - 1e-4 <= abs(shift) <= greatest_t * 32 + 1e-4
    assert {np.sign(p.rotation_degrees) for p in pairs} == {-1, 1}
    assert {np.sign(p.translation_rows) for p in pairs} == {-1, 1}
    assert {p.fixed for p in pairs} == {"A", "B"}


def test_missing_context_is_masked_where_the_scene_is_small():
    generator = np.random.default_rng(0)
    small = scene(height=40, width=40)
    pairs = draw_pairs([small], ("A", "B"), 32, 20, levels=["any"], generator=generator)
    cut = [cut_pair(pair, {"s": small}) for pair in pairs]
    assert any(not mask.all() for *_, mask in cut)
    for pair, (_, moving, mask) in zip(pairs, cut, strict=True):
        points = np.argwhere(mask).astype(float)
        seen = moving[:, mask].T - 1 - [pair.row, pair.column]
        # At the border the cubic kernel continues the last pixel.
        np.testing.assert_allclose(
            seen, transform_points(pair.moving_to_fixed(), points), atol=0.25
        )


def test_places_need_content():
    image = torch.zeros(1, 120, 110)
    image[:, 40:90, 30:80] = torch.rand(1, 50, 50) + 0.1
    pairs = draw_pairs(
        [Scene("s", {"A": image, "B": image})],
        ("A", "B"),
        32,
        30,
        levels=["any"],
        least_content=0.9,
        generator=np.random.default_rng(0),
    )
    for pair in pairs:
        patch = image[0, pair.row : pair.row + 32, pair.column : pair.column + 32]
        assert (patch > 0).float().mean() >= 0.9
    with pytest.raises(ValueError, match="expected scenes with room for 128 px patches"):
        draw(width=128)


def test_lists_are_written_and_read_and_the_committed_one_is_what_its_seed_draws(tmp_path):
    pairs = draw()
    write_pairs(tmp_path / "list.csv", pairs)
    assert read_pairs(tmp_path / "list.csv") == pairs
    parts = embedded()
    again = draw_pairs(
        parts.test, ("haematoxylin", "dab"), 96, 100, generator=np.random.default_rng(96)
    )
    assert read_pairs(LISTS / "immunohistochemistry_haematoxylin_dab_96.csv") == again
    (tmp_path / "bad.csv").write_text("level,fixed\n4,A\n")
    with pytest.raises(ValueError, match=r"bad.csv: expected a list of test pairs"):
        read_pairs(tmp_path / "bad.csv")


@pytest.mark.parametrize("path", sorted(LISTS.glob("*.csv")), ids=lambda p: p.stem)
def test_committed_lists_have_a_hundred_pairs_a_level_and_direction(path):
    pairs = read_pairs(path)
    for level in LEVELS:
        for fixed in {p.fixed for p in pairs}:
            assert sum(p.level == level and p.fixed == fixed for p in pairs) >= 100


@given(st.floats(-180, 180), st.floats(-9, 9), st.floats(-9, 9))
def test_corner_error_is_a_distance_that_a_common_motion_does_not_change(degrees, r, c):
    one, other = rigid(degrees, (r, c)), rigid(0, (c, -r))
    common = rigid(33, (4, 5))
    assert corner_error(one, one, 64) == 0
    assert math.isclose(corner_error(one, other, 64), corner_error(other, one, 64))
    moved = corner_error(common @ one, common @ other, 64)
    assert math.isclose(moved, corner_error(one, other, 64), abs_tol=1e-9)


def test_a_method_that_raises_has_failed_and_counts():
    pairs = draw(count=2)

    truths = iter(pairs)

    def half(fixed, moving, mask, modalities):
        truth = next(truths).moving_to_fixed()
        if modalities == ("A", "B"):
            raise RuntimeError("lost")
        return truth @ rigid(0, (0.2, 0.0))

    outcomes = evaluate(half, pairs, [scene()])
    summary = summarise(outcomes)
    assert (summary.pairs, summary.success) == (len(pairs), 0.5)
    assert summary.each_way == (0.0, 1.0)
    assert math.isclose(summary.median_error, 0.2, abs_tol=1e-9)
    assert {o.failure for o in outcomes} == {"", "RuntimeError: lost"}


@given(st.integers(1, 60), st.data())
def test_wilsons_interval_is_scipys(n, data):
    from scipy.stats import binomtest

    good, failed = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    pair = draw(count=1)[0]
    missed = [Outcome(pair, 9.0, 0.1), Outcome(pair, math.inf, 0.1, "ValueError: lost")]
    s = summarise(
        [Outcome(pair, 0.0, 0.1) if i < good else missed[i - good < failed] for i in range(n)]
    )
    expected = binomtest(good, n).proportion_ci(method="wilson")
    assert math.isclose(s.low, expected.low, abs_tol=1e-6)
    assert math.isclose(s.high, expected.high, abs_tol=1e-6)
    assert math.isnan(s.median_error) == (good == 0)


def test_no_outcomes_are_refused():
    with pytest.raises(ValueError, match="expected at least one"):
        summarise([])


def test_a_record_is_one_line_that_repeats_everything(tmp_path):
    pair = draw(count=1)[0]
    outcomes = [Outcome(pair, 0.5, 0.1), Outcome(pair, math.inf, 0.1, "ValueError: no")]
    for _ in range(2):
        records.append(tmp_path / "runs" / "records.jsonl", outcomes, method="search", seed=3)
    assert len((tmp_path / "runs" / "records.jsonl").read_text().splitlines()) == 2
    first, second = records.read(tmp_path / "runs" / "records.jsonl")
    assert first == second
    assert first["seed"] == 3
    assert first["versions"]["escnn"] == "1.0.11"
    assert [p["corner_error"] for p in first["pairs"]] == [0.5, None]


@given(st.lists(st.floats(0, 1e-3), max_size=4))
def test_what_the_gate_said_is_read_as_it_was_said(worst):
    gate = [{"name": f"claim {n}", "held": True, "worst": w} for n, w in enumerate(worst)]
    with tempfile.TemporaryDirectory() as folder:
        records.append(Path(folder) / "records.jsonl", [], gate=gate)
        (line,) = records.read(Path(folder) / "records.jsonl")
    rounded = [{**claim, "worst": pytest.approx(claim["worst"], rel=1e-5)} for claim in gate]
    assert line["gate"] == rounded  # six digits are kept
    assert line["pairs"] == []


@given(seeds(), st.floats(-180, 180))
def test_the_floor_of_the_equivariance_error_is_tiny(generator, degrees):
    assert equivariance_error(lambda x: x, degrees, generator=generator, patterns=1) < 1e-5


@given(seeds(), st.floats(-180, 180), st.sampled_from([40, 64]))
def test_the_patterns_fade_to_nothing_before_the_border(generator, degrees, size):
    seen = []
    equivariance_error(
        lambda x: seen.append(x) or x, degrees, size=size, patterns=2, generator=generator
    )
    at = torch.arange(size) - (size - 1) / 2
    radius = (at[:, None] ** 2 + at[None] ** 2).sqrt() / (size / 2)
    for pattern in seen:
        assert (pattern[..., radius > 0.95] == 0).all()
        assert pattern[..., radius > 0.9].abs().max() < 0.05 * pattern.abs().max()
        assert pattern[..., radius < 0.5].std() > 0.2


@given(seeds(), st.sampled_from([90.0, 180.0, -90.0]))
def test_equivariance_error_ranks_steerable_below_plain(generator, degrees):
    encoders = [make(widths=(1, 1), generator=generator).eval() for make in (steerable, plain)]
    noise = torch.randn(1, 1, 64, 64, generator=generator)
    with torch.no_grad():
        # Of weights that close every path, nothing is left but rounding.
        assume(all(encoder(noise).std((2, 3)).max() > 1e-2 for encoder in encoders))
    options = {"size": 64, "patterns": 1}
    errors = [
        equivariance_error(encoder, angle, generator=generator, **options)
        for encoder in encoders
        for angle in (degrees, 30.0)
    ]
    assert errors[0] < 1e-5
    assert errors[2] > 0.05
    assert min(errors[1], errors[3]) > 1e-3  # between the group's angles nothing is exact


def test_a_planted_rotation_error_is_measured_as_what_it_is(rng):
    """A map that turns by one degree too far has the error that a degree makes."""

    def crooked(x):
        turned = [warp_image(i[None], rigid(1.0, centre=(63.5, 63.5)))[0] for i in x]
        return torch.cat(turned)

    def skewed(x):  # depends on direction
        return x + x.roll(2, dims=-1)

    assert equivariance_error(crooked, 40.0, generator=rng) < 0.02  # rotations commute
    assert equivariance_error(skewed, 40.0, generator=rng) > 0.05


def shifted(x):
    return x.roll(1, dims=-1)


@pytest.mark.parametrize("degrees", [30.0, 90.0])
def test_decibels_rank_maps_as_the_error_does(degrees):
    def measured(measure, f):
        return measure(f, degrees, size=64, generator=torch.Generator().manual_seed(0))

    smeared = measured(equivariance_decibels, lambda x: x + 0.01 * shifted(x))
    assert measured(equivariance_decibels, lambda x: x) > smeared + 20
    assert smeared > measured(equivariance_decibels, shifted) + 20
    # Ten times the error is twenty decibels less, whatever the representation's scale.
    fine, coarse = (
        measured(equivariance_decibels, lambda x, e=e: 7 * (x + e * (shifted(x) - x)))
        for e in (0.01, 0.1)
    )
    assert fine - coarse == pytest.approx(20, abs=0.5)
    errors = [measured(equivariance_error, f) for f in (lambda x: x, shifted)]
    assert errors[0] < 1e-4 < errors[1]


def test_real_patches_are_turned_before_the_map_and_after_it_alike(rng):
    image = torch.from_numpy(skimage.data.retina().mean(axis=2)).float()[None, None]
    patches = torch.cat([image[..., 600:664, 600:664], image[..., 300:364, 700:764]])
    by_angle = {
        degrees: [
            equivariance_error(f, degrees, patches=patches, generator=rng)
            for f in (lambda x: x, shifted)
        ]
        for degrees in (30.0, 90.0)
    }
    assert by_angle[90.0][0] == 0
    assert by_angle[30.0][0] < 1e-6  # both ways are the same resampling
    assert all(of_shifted > 0.01 for _, of_shifted in by_angle.values())
