"""Other people's registration behind one signature: planted transforms come back as they were.

What is not installed is skipped, and the reason said; the authors' own code, which is no package,
is stood in for by a few lines of the same names, that answer in the direction that it does.
"""

import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import script
from strategies import few, numbers

from equicomir.evaluation.alignment import corner_error
from equicomir.geometry import corners, image_centre, rigid, transform_points, warp_image
from equicomir.transforms.linear import invert, over_xy

methods = script("benchmarks", "peer_methods")
originals = script("benchmarks", "peer_originals")

WIDTH = 72
CENTRE = image_centre(WIDTH, WIDTH)
CORNER = rigid(0, (WIDTH / 2, WIDTH / 2))
GOOD = 0.02 * WIDTH
# Away from no turn and no shift, where a transform and its inverse are alike.
signs, sizes = st.sampled_from([-1, 1]), st.floats(2, 4)
shifts = st.tuples(*[st.builds(lambda sign, size: sign * size, signs, sizes)] * 2)
small = st.builds(lambda sign, degrees: sign * degrees, signs, st.floats(5, 9))
angles = st.floats(-180, 180)


def planted(seed, degrees, shift, contrast=-1):
    """A smooth texture, and another contrast of it, turned and moved; and the true transform."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.zeros(1, 1, 2 * WIDTH, 2 * WIDTH, dtype=torch.float64)
    for cells in (5, 9, 16):
        noise = torch.randn(1, 1, cells, cells, generator=generator, dtype=torch.float64)
        whole += torch.nn.functional.interpolate(noise, whole.shape[2:], mode="bicubic")
    truth = rigid(degrees, shift, centre=CENTRE)
    fixed, _ = warp_image(whole, CORNER, size=(WIDTH, WIDTH))
    moving, _ = warp_image(whole, CORNER @ truth, size=(WIDTH, WIDTH))
    # Positive, as images are: some packages begin from centres of mass.
    return np.exp(fixed[0].numpy() / 2), np.exp(contrast * moving[0].numpy() / 2), truth


def recovers(method, seed, degrees, shift, contrast=-1):
    fixed, moving, truth = planted(seed, degrees, shift, contrast)
    found = method(fixed, moving)
    assert not found.failure
    assert corner_error(truth, found.moving_to_fixed, WIDTH) < GOOD
    # The check sees the faults that a convention invites.
    for wrong in (invert(found.moving_to_fixed), over_xy(found.moving_to_fixed)):
        assert corner_error(truth, wrong, WIDTH) > GOOD


# ---------------------------------------------------------------------------- installed packages


@few(3)
@given(numbers, small, shifts)
def test_simpleitk_recovers_a_small_displacement(seed, degrees, shift):
    pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    recovers(methods.simpleitk, seed, degrees, shift)


@few(1)
@given(numbers, st.floats(60, 160), shifts)
def test_simpleitk_recovers_any_angle_from_12_starts(seed, degrees, shift):
    pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    recovers(partial(methods.simpleitk, starts=12), seed, degrees, shift)


@few(3)
@given(numbers, small, shifts)
def test_ants_recovers_a_small_displacement(seed, degrees, shift):
    pytest.importorskip("ants", reason="antspyx is not installed")
    # Of one contrast, whose centres of mass agree: its one start is there.
    recovers(methods.ants, seed, degrees, shift, contrast=1)


@few(1)
@given(numbers, st.floats(60, 160), shifts)
def test_ants_recovers_any_angle_from_12_starts(seed, degrees, shift):
    pytest.importorskip("ants", reason="antspyx is not installed")
    recovers(partial(methods.ants, starts=12), seed, degrees, shift)


def test_zcmir_recovers_a_small_displacement():
    zcmir = pytest.importorskip("zcmir", reason="zcmir is not installed")
    try:
        with zcmir.Registrar() as engine:
            adapter = engine.adapter
    except RuntimeError as error:
        pytest.skip(f"zcmir finds no GPU: {error}")
    if "llvmpipe" in adapter:
        pytest.skip("zcmir has software Vulkan alone, where a pair takes minutes")
    recovers(partial(methods.zcmir, model="affine"), 0, 8.0, (3.0, -2.0))


@pytest.mark.parametrize("name", ["SimpleITK", "ants"])
def test_masks_are_seen(name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    method = methods.simpleitk if name == "SimpleITK" else methods.ants
    fixed, moving, truth = planted(3, 6.0, (2.0, -3.0), contrast=1)
    hidden = planted(4, 0.0, (0.0, 0.0))[0][0, :, : WIDTH // 2]
    fixed[0, :, : WIDTH // 2] = moving[0, :, : WIDTH // 2] = hidden  # the same in both, in place
    mask = np.ones((WIDTH, WIDTH), dtype=bool)
    mask[:, : WIDTH // 2 + 2] = False
    found = method(fixed, moving, fixed_mask=mask, moving_mask=mask)
    blind = method(fixed, moving)
    errors = [corner_error(truth, one.moving_to_fixed, WIDTH) for one in (found, blind)]
    assert errors[0] < GOOD < errors[1]


def test_no_start_is_left_out_without_its_reason():
    def raises(degrees):
        raise RuntimeError(f"from {degrees:g}")

    with pytest.raises(RuntimeError, match="from 180"):
        methods._best(raises, 2, (WIDTH, WIDTH), (WIDTH, WIDTH))


def test_an_end_without_overlap_is_chosen_only_where_there_is_no_other():
    size, away, near = (WIDTH, WIDTH), rigid(0, (60, 0)), rigid(0, (20, 0))
    ends = {0.0: methods.Alignment(away, 9.0), 180.0: methods.Alignment(near, 1.0)}
    assert methods._best(ends.get, 2, size, size) is ends[180.0]
    assert methods._best(ends.get, 1, size, size) is ends[0.0]


# ----------------------------------------------------------------------- conventions, by themselves


@given(angles, shifts, st.sampled_from([1.0, 0.5]))
def test_a_homography_that_counts_x_from_one_becomes_the_rigid_map(degrees, shift, weight):
    truth = rigid(degrees, shift, centre=CENTRE)
    places = corners(WIDTH, WIDTH)
    ended = transform_points(truth, places)
    # The same map by its points: (x, y) of pixels that are counted from one.
    system = np.column_stack([places[:, ::-1] + 1, np.ones(4)])
    mapped = np.column_stack([ended[:, ::-1] + 1, np.ones(4)])
    homography = np.linalg.lstsq(system, mapped, rcond=None)[0].T * weight
    found = methods.of_homography(homography, (WIDTH, WIDTH))
    assert np.allclose(found, truth, atol=1e-8)
    uncounted = methods.of_homography(over_xy(truth), (WIDTH, WIDTH))  # as if from nought
    assert abs(degrees) < 1 or not np.allclose(uncounted, truth, atol=1e-3)


def test_a_homography_that_folds_is_refused():
    with pytest.raises(ValueError, match="expected finite corners"):
        methods.of_homography(np.array([[1, 0, 0], [0, 1, 0], [1.0, 0, -1]]), (WIDTH, WIDTH))


# ------------------------------------------------------------------------------ the authors' code


def stand_in(name, **functions):
    """A module of this name, with the functions that are called of it."""
    module = ModuleType(name)
    for key, value in functions.items():
        setattr(module, key, value)
    sys.modules[name] = module


def quantised(image, levels):
    assert image.ndim == 3  # its last axis are channels
    edges = np.quantile(image, np.linspace(0, 1, levels + 1)[1:-1])
    return np.digitize(image[..., 0], edges)


@given(angles, shifts)
def test_globalign_answers_from_fixed_to_moving_shift_first(degrees, shift):
    def align(a, b, *others, **options):  # both masks, both q, angles, the greatest, refinement
        q_a, q_b, max_angle = others[2], others[3], others[5]
        assert (a.max(), b.max(), q_a, q_b, max_angle) == (7, 7, 8, 8, 180.0)
        assert options["on_gpu"] is False
        return np.array([1.5, degrees, *shift, *CENTRE]), (None, None)

    stand_in("globalign", align_rigid_and_refine=align)
    stand_in("nd2cat", image2cat_kmeans=quantised)
    try:
        found = originals.globalign(*planted(0, 5.0, (1.0, 2.0))[:2])
    finally:
        del sys.modules["globalign"], sys.modules["nd2cat"]
    # Its own warping: p of the fixed image shows R (p - c + shift) + c of the moving one.
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for row, column in corners(WIDTH, WIDTH):
        y, x = row - CENTRE[0] + shift[0], column - CENTRE[1] + shift[1]
        shown = np.array([[cos * y - sin * x + CENTRE[0], sin * y + cos * x + CENTRE[1]]])
        assert np.allclose(transform_points(found.moving_to_fixed, shown), [row, column])
    assert found.score == 1.5


class Rigid2D:
    """As theirs: rotation, then translation, of rows of points."""

    def __init__(self):
        self.numbers = np.zeros(3)

    def set_param(self, index, value):
        self.numbers[index] = value

    def transform(self, points):
        cos, sin = np.cos(self.numbers[0]), np.sin(self.numbers[0])
        return points @ np.array([[cos, sin], [-sin, cos]]) + self.numbers[1:]


class Register:
    """Ends at the start nearest to a truth, with the truth."""

    truth = (0.0, 0.0, 0.0)

    def __init__(self, dimensions):
        assert dimensions == 2
        self.starts = []

    def __getattr__(self, name):
        if name.startswith(("set_", "add_pyramid", "initialize", "run")):
            return lambda *given: None
        raise AttributeError(name)

    def add_initial_transform(self, transform, scaling):
        assert scaling.shape == (3,)
        self.starts.append(transform)

    def get_output(self, index):
        gap = abs(np.exp(1j * self.starts[index].numbers[0]) - np.exp(1j * self.truth[0]))
        if gap < 0.3:  # near enough to end there
            self.starts[index].numbers[:] = self.truth
        return self.starts[index], np.float64(gap)


@given(angles, shifts)
def test_alpha_amd_answers_from_fixed_to_moving_about_the_centres(degrees, shift):
    Register.truth = (np.radians(degrees), *shift)
    stand_in("register", Register=Register)
    stand_in("transforms", Rigid2DTransform=Rigid2D)
    try:
        found = originals.alpha_amd(*planted(0, 5.0, (1.0, 2.0))[:2])
    finally:
        del sys.modules["register"], sys.modules["transforms"]
    truth = invert(rigid(degrees, shift, centre=CENTRE))
    assert np.allclose(found.moving_to_fixed, truth, atol=1e-8)
