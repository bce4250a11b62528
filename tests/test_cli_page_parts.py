"""What the page of a registration is made of: pictures in their places, numbers told as words."""

import base64
import dataclasses
import io
import math
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from equicomir.commands.page_pictures import (
    LONGEST_SIDE,
    checkerboard,
    curve,
    embedded,
    page_places,
    page_step,
    places_in_moving,
    seen_at,
)
from equicomir.commands.page_text import apart, reasons, runner_up, transform_words
from equicomir.geometry import rigid
from equicomir.registration import information, search
from equicomir.registration.alignment import Alignment
from equicomir.registration.evidence import Evidence, agreement, distance, lead
from equicomir.registration.verdict import read_calibration
from equicomir.transforms.deformations import displacement_of
from equicomir.transforms.linear import affine

CALIBRATION = read_calibration(search.register)


def scene(seed, height=40, width=36):
    """A picture of blocks, which no turn leaves as it is."""
    rng = np.random.default_rng(seed)
    blocks = rng.normal(size=(-(-height // 8), -(-width // 8)))
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def decoded(address):
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", address).groups()
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


# ------------------------------------------------------------------------------- pictures


@given(
    seed=st.integers(0, 2**31 - 1),
    turns=st.integers(0, 3),
    size=st.tuples(st.integers(17, 40), st.integers(17, 40)),
    deformed=st.booleans(),
    fault=st.booleans(),
)
def test_what_is_registered_is_seen_where_the_fixed_image_is(seed, turns, size, deformed, fault):
    """To the last bit for a quarter turn; and a matrix of the other direction is seen not to."""
    image = scene(seed, *size)[None]
    moving = np.rot90(image, turns, (1, 2))
    here, there = ((n - 1) / 2 for n in size), ((n - 1) / 2 for n in moving.shape[1:])
    matrix = rigid(0, tuple(here)) @ rigid(-90 * turns) @ np.linalg.inv(rigid(0, tuple(there)))
    back = np.linalg.inv(np.linalg.inv(matrix) if fault else matrix)
    displacement = displacement_of(back, size) if deformed else None
    places = places_in_moving(np.linalg.inv(back), page_places(size), displacement)
    came, inside = seen_at(moving, np.ones(moving.shape[1:], bool), places, page_step(size))
    exact = inside.all() and np.allclose(came, image, atol=1e-9)
    assert exact == (not fault or turns % 2 == 0)


@given(
    slope=st.tuples(st.floats(0.1, 2), st.floats(-2, -0.1)),
    size=st.tuples(st.integers(100, 200), st.integers(100, 200)),
    longest=st.integers(20, 260),
    fault=st.booleans(),
)
def test_a_slope_keeps_its_place_however_much_smaller_it_is_shown(slope, size, longest, fault):
    """Means of a slope are its values in the middle; without the half pixel they are not."""
    step, places = page_step(size, longest), page_places(size, longest)
    assert max(places.shape[1:]) == min(longest, max(size))
    longer = int(np.argmax(size))  # which the page's pixels fill to the last: centre on centre
    assert places[longer].mean() == pytest.approx((size[longer] - 1) / 2)
    rows, columns = np.indices(size)
    image = (slope[0] * rows + slope[1] * columns)[None]
    looked_at = places - (step - 1) / 2 if fault else places
    came, inside = seen_at(image, np.ones(size, bool), looked_at, step)
    expected = slope[0] * places[0] + slope[1] * places[1]
    margin = min(4, min(came.shape[1:]) // 3)  # at the border there is nothing to average with
    inner = (slice(margin, -margin),) * 2
    wrong = np.abs(came[0] - expected)[inner][inside[inner]].max()
    off = abs(sum(slope)) * (step - 1) / 2
    assert wrong == pytest.approx(off if fault else 0, abs=1e-6)


@given(longest=st.integers(20, 60), seed=st.integers(0, 2**31 - 1))
def test_what_is_too_fine_for_the_page_is_grey_on_it(longest, seed):
    """A pattern of single pixels is averaged; picking pixels makes another pattern of it."""
    size = (150, 130)
    image = np.where(np.indices(size).sum(0) % 2 == 0, 1.0, -1.0)[None]
    image *= np.random.default_rng(seed).uniform(0.5, 2)
    step, places = page_step(size, longest), page_places(size, longest)
    came, _ = seen_at(image, np.ones(size, bool), places, step)
    rows, columns = np.rint(places).astype(int)
    picked = image[0, rows, columns]
    assert np.abs(came).max() < 0.3 * np.abs(picked).max()


def test_what_a_mask_hides_is_in_no_mean():
    rng = np.random.default_rng(0)
    mask = rng.random((120, 120)) < 0.7
    image = np.where(mask, 100 + scene(1, 120, 120), 1e9)[None]
    step, places = page_step(mask.shape, 45), page_places(mask.shape, 45)
    came, inside = seen_at(image, mask, places, step)
    assert 0 < inside.mean() < 1
    assert (came[:, ~inside] == 0).all()
    assert np.abs(came[:, inside] - 100).max() < 6


@given(seed=st.integers(0, 2**31 - 1), channels=st.sampled_from([1, 3]), hole=st.booleans())
def test_a_small_picture_is_embedded_as_it_is(seed, channels, hole):
    picture = np.random.default_rng(seed).random((channels, 20, 23))
    inside = np.ones((20, 23), bool)
    inside[:7] = not hole
    kind, came = decoded(embedded(picture, inside))
    came = came.reshape(20, 23, -1).transpose(2, 0, 1)
    assert kind == "png"
    assert np.abs(came[:channels] / 255 - picture).max() <= 0.5 / 255 + 1e-9
    assert len(came) == channels + hole
    if hole:
        np.testing.assert_array_equal(came[-1] > 0, inside)


def test_a_page_of_nothing_but_noise_stays_below_5_mb():
    noise = np.random.default_rng(0).random((3, LONGEST_SIDE, LONGEST_SIDE))
    address = embedded(noise, noise[0] > 0.1)
    kind, came = decoded(address)
    assert (kind, came.shape) == ("jpeg", (LONGEST_SIDE, LONGEST_SIDE, 3))
    assert 5 * len(address) < 4.9e6  # fixed, moving, checkerboard, two representations


@given(seed=st.integers(0, 2**31 - 1), size=st.tuples(st.integers(20, 60), st.integers(20, 60)))
def test_a_checkerboard_shows_both_and_fixed_where_moving_is_not(seed, size):
    rng = np.random.default_rng(seed)
    fixed, moving = 0.5 * rng.random((1, *size)), 0.5 + 0.25 * rng.random((3, *size))
    inside = np.arange(size[1])[None].repeat(size[0], 0) >= 10
    board = checkerboard(fixed, moving, inside, tiles=4)
    is_fixed = (board == fixed).all(0)
    assert is_fixed[~inside].all()
    assert 0.2 < is_fixed[inside].mean() < 0.8
    assert board.max() <= 1


# ------------------------------------------------------------------------------- score and words


@given(
    seed=st.integers(0, 2**31 - 1),
    count=st.integers(2, 60),
    size=st.floats(1e-3, 1e3),
    found=st.floats(-179, 180),
)
def test_a_curve_is_drawn_through_every_score(seed, count, size, found):
    """Read back by its own axes: the ticks say where the numbers are."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 360, count, endpoint=False)
    scores = size * rng.normal(size=count)
    scores[rng.random(count) < 0.2] = -math.inf
    tried = list(zip(angles.tolist(), scores.tolist(), strict=True))
    finite = sorted(((a + 180) % 360 - 180, s) for a, s in tried if math.isfinite(s))
    drawn = curve(tried, found)
    if len(finite) < 2:
        assert not drawn
        return
    number = r"(-?[\d.]+(?:e[-+]?\d+)?)"
    across = re.findall(rf'<text x="{number}" y="[\d.]+" text-anchor="\w+">{number}°</text>', drawn)
    down = re.findall(rf'y="{number}" text-anchor="end">{number}</text>', drawn)
    points = " ".join(re.findall(r'<polyline points="([^"]*)"/>', drawn)).split()
    places = np.array([[float(n) for n in point.split(",")] for point in points])
    x, degrees = np.array(across, float).T
    y, values = np.array(down, float).T
    to_degrees, to_score = np.polyfit(x, degrees, 1), np.polyfit(y - 3.5, values, 1)
    came = np.stack([np.polyval(to_degrees, places[:, 0]), np.polyval(to_score, places[:, 1])], 1)
    assert len(came) == len(finite)
    assert np.abs(came - finite).max(0)[0] < 0.05
    assert np.abs(came - finite).max(0)[1] < 1e-3 * np.ptp(values)
    assert 4 <= len(values) <= 7
    at = re.search(rf'class="found" x1="{number}"', drawn)[1]
    assert abs(np.polyval(to_degrees, float(at)) - found) < 0.05


def test_a_curve_has_no_line_across_angles_that_were_not_scored():
    tried = [(float(a), 1.0 + a % 7) for a in range(-180, 180, 5) if not 20 < a < 60]
    assert curve(tried, 0).count("<polyline") == 2
    assert curve([(float(a), 1.0 + a % 7) for a in range(-180, 180, 5)], 0).count("<polyline") == 1
    assert curve([], 0) == curve([(0.0, 1.0), (90.0, math.nan)], 0) == ""


@given(seed=st.integers(0, 2**31 - 1), count=st.integers(3, 40), degrees=st.floats(-180, 180))
def test_the_next_best_angle_is_that_of_the_lead(seed, count, degrees):
    rng = np.random.default_rng(seed)
    tried = list(zip(np.linspace(0, 330, count).tolist(), rng.random(count).tolist(), strict=True))
    other = runner_up(tried, degrees)
    gap = {a: abs((a - degrees + 180) % 360 - 180) for a, _ in tried}
    near = [s for a, s in tried if gap[a] <= 15]
    far = [s for a, s in tried if gap[a] > 15]
    if other is None:
        assert not near or not far
        return
    expected = (max(near) - other[1]) / np.std(far) if len(far) > 1 else math.inf
    assert lead(tried, degrees) == pytest.approx(np.clip(expected, -3, 6))


def in_numbers(words, fixed_size, moving_size):
    """The matrix that a sentence tells of."""

    def said(pattern):
        found = re.search(pattern, words)
        return 0.0 if found is None else float(found[1])

    down = said(r"scaled by ([\d.]+)") or 1
    across = said(r"and ([\d.]+) along its width") or down
    mirror = -1 if "mirrored" in words else 1
    shear = said(r"sheared by ([\d.]+)") * (-1 if "right side up" in words else 1)
    turn = said(r"turned by ([\d.]+)") * (1 if "counter-clockwise" in words else -1)
    rows = said(r"([\d.]+) px[^,]*? down") - said(r"([\d.]+) px[^,]*? up")
    columns = said(r"([\d.]+) px[^p]*? to the right") - said(r"([\d.]+) px[^p]*? to the left")
    stretch = np.diag([down, across]) @ np.diag([1, mirror])
    linear = np.array([[1, math.tan(math.radians(shear))], [0, 1]]) @ stretch
    here, there = (((n - 1) / 2, (m - 1) / 2) for n, m in (fixed_size, moving_size))
    centred = affine(rigid(turn)[:2, :2] @ linear, (rows, columns))
    return rigid(0, here) @ centred @ rigid(0, tuple(-n for n in there))


@given(
    degrees=st.floats(-180, 180),
    move=st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
    scale=st.sampled_from([1.0, 1.2]) | st.floats(0.5, 2),
    ratio=st.sampled_from([1.0]) | st.floats(0.7, 1.4),
    shear=st.sampled_from([0.0]) | st.floats(-0.5, 0.5),
    mirrored=st.booleans(),
    sizes=st.lists(st.integers(20, 99), min_size=4, max_size=4),
    pixel=st.none() | st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)),
    fault=st.booleans(),
)
def test_the_words_say_the_matrix(
    degrees, move, scale, ratio, shear, mirrored, sizes, pixel, fault
):
    """To the digits shown; and the matrix of the opposite direction is told in other words."""
    fixed_size, moving_size = (sizes[0], sizes[1]), (sizes[2], sizes[3])
    linear = np.array([[1, shear], [0, 1]]) @ np.diag([scale, scale * ratio])
    linear = rigid(degrees)[:2, :2] @ linear @ np.diag([1, -1 if mirrored else 1])
    matrix = affine(linear, move, centre=tuple((n - 1) / 2 for n in moving_size))
    told = np.linalg.inv(matrix) if fault else matrix
    words = transform_words(told, fixed_size, moving_size, pixel)
    came = in_numbers(words, fixed_size, moving_size)
    at = np.array([[0, 0, 1], [moving_size[0] - 1, 0, 1], [0, moving_size[1] - 1, 1]]).T
    off = np.abs((came @ at - matrix @ at)[:2]).max()
    if not fault:
        assert off < 0.6  # 0.05 degrees and 0.0005 of scale at the corners, and 0.05 px
    elif np.abs((told @ at - matrix @ at)[:2]).max() > 3:
        assert off > 1


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (rigid(0), "not turned and not moved"),
        (rigid(90, centre=(9.5, 9.5)), "turned by 90.0 degrees counter-clockwise and not moved"),
        (rigid(0, (0, -3)), "not turned and moved 3.0 px (1.5 µm) to the left"),
        (np.diag([2.0, 2.0, 1.0]), "scaled by 2.000, not turned and moved 9.5 px"),
    ],
)
def test_words_for_plain_transforms(matrix, words):
    assert transform_words(matrix, (20, 20), (20, 20), (0.5, 0.5)).startswith(words)


@given(one=st.floats(0, 1), other=st.floats(0.01, 0.99))
def test_two_probabilities_are_told_apart(one, other):
    texts = apart(one, other)
    if abs(one - other) > 1e-7:
        assert texts[0] != texts[1]
        assert (float(texts[0]) < float(texts[1])) == (one < other)
    assert apart(1e-12, 0.5) == ("0.0000", "0.5000")


def test_reasons_follow_the_numbers():
    leading = [(float(a), 1.0 if a == 30 else 0.1 + a % 3 / 90) for a in range(-180, 180, 5)]
    given_by = Alignment(rigid(30), 0.5, leading, confidence=0.9)
    text = " ".join(reasons(given_by, CALIBRATION, "search", "rigid", 0.874))
    assert "clearly ahead" in text
    assert "6 or more" in text
    assert "covers 87 %" in text
    behind = dataclasses.replace(given_by, moving_to_fixed=rigid(-90))
    text = " ".join(reasons(behind, CALIBRATION, "search", "rigid", 0.5))
    assert "30.0 degrees, scored higher" in text
    assert "sign of error" in text
    bare = dataclasses.replace(given_by, score_by_angle=[])
    text = " ".join(reasons(bare, CALIBRATION, "information", "bspline", 0.5))
    assert "ahead" not in text
    assert "what elastix added was not judged" in text


def test_other_looks_are_told_by_how_far_away_they_end():
    evidence = dataclasses.asdict(
        Evidence(
            0.9,
            0.4,
            3.0,
            1.0,
            agreement(np.eye(3), rigid(0, (8, 0)), (16, 16)),
            agreement(np.eye(3), rigid(0, (1, 0)), (100, 100)),
            2.0,
            0.25,
            1.0,
        )
    )
    found = Alignment(np.eye(3), 0.5, confidence=0.4, evidence=evidence)
    text = " ".join(reasons(found, CALIBRATION, "search", "rigid", 0.9))
    assert "exchanged, the corners end 0.0 % of the side away." in text
    assert "they end 1.0 % of the side away, and 50 % of the side away, a sign of error." in text
    assert "foretells those of the other by 0.25" in text
    unasked = " ".join(reasons(Alignment(np.eye(3), 0.5), CALIBRATION, "search", "rigid", 0.9))
    assert "exchanged" not in unasked


def test_the_calibration_of_the_page_is_that_of_the_method():
    text = " ".join(
        reasons(
            Alignment(np.eye(3), 1.0),
            read_calibration(information.register),
            "information",
            "rigid",
            1,
        )
    )
    assert "information, raw, " in text


@given(st.floats(0, 1))
def test_a_distance_is_what_its_agreement_says(fraction):
    """The inverse, but for what agrees as well as can be told; the wrong base is seen."""
    away = agreement(np.eye(3), rigid(0, (100 * fraction, 0)), (100, 100))
    assert math.isclose(distance(away), fraction, abs_tol=1e-9)
    if 0.01 < fraction < 0.99:
        assert not math.isclose(math.exp(-away), fraction, abs_tol=1e-3)
