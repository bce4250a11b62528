"""Patches: one place for all modalities, each its own angle; from memory, disk or workers alike."""

import json

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import few, seeds

from equicomir.geometry import rotate
from equicomir.images.augmentation import Augmentation
from equicomir.images.batches import Batches, in_order
from equicomir.images.intensities import percentile_scaling
from equicomir.images.pairs import Scene, read_scenes, sample_pixels
from equicomir.images.patches import Draw, cut_patches, draw_patches, patch_places
from equicomir.losses.rotated_pairs import valid_disk

EVERYTHING = Augmentation(True, True, 1.25, 3.0, 0.3, 0.3, 0.05, 1.5, 0.3, 0.5)


def noise_scenes(generator, count=2, size=48):
    images = [torch.randn(2, 1, size, size, generator=generator) for _ in range(count)]
    return [Scene(str(i), {"A": x[0], "B": x[1]}) for i, x in enumerate(images)]


@given(seeds(), st.integers(16, 24))
def test_both_images_of_a_pair_come_from_one_place_each_turned_by_its_own_angle(generator, size):
    scenes = noise_scenes(generator)
    same = [Scene(s.name, {"A": s.images["A"], "B": s.images["A"]}) for s in scenes]
    draw = draw_patches(patch_places(same, size), 3, 2, generator=generator)
    first, second = cut_patches(same, draw, size)
    assert not torch.equal(draw.degrees[0], draw.degrees[1])
    for b in range(3):
        row, column = draw.corner[b].tolist()
        image = same[int(draw.scene[b])].images["A"][None]
        straight = image[..., row : row + size, column : column + size]
        inside = (..., valid_disk(size, 2))
        for patches, degrees in ((first, draw.degrees[0]), (second, draw.degrees[1])):
            expected = rotate(straight, degrees[b : b + 1])
            torch.testing.assert_close(
                patches[b : b + 1][inside], expected[inside], atol=1e-3, rtol=1e-3
            )


@given(seeds(), st.booleans())
def test_a_draw_can_be_written_down_and_replayed_bit_for_bit(generator, augmented):
    scenes = noise_scenes(generator)
    places = patch_places(scenes, 16)
    some = EVERYTHING if augmented else None
    draw = draw_patches(places, 4, 2, augmentation=some, generator=generator)
    again = Draw.from_lists(json.loads(json.dumps(draw.as_lists())))
    cut = zip(cut_patches(scenes, draw, 16), cut_patches(scenes, again, 16), strict=True)
    assert all(torch.equal(one, other) for one, other in cut)
    other = draw_patches(places, 4, 2, augmentation=some, generator=generator)
    assert not torch.equal(draw.degrees, other.degrees)


@given(seeds())
def test_few_scenes_at_once_means_few_scenes(generator):
    places = patch_places(noise_scenes(generator, count=5), 16)
    draw = draw_patches(places, 40, 2, scenes_at_once=2, generator=generator)
    assert len(draw.scene.unique()) <= 2
    free = draw_patches(places, 40, 2, generator=generator)
    assert len(free.scene.unique()) > 2


@given(seeds(), st.sampled_from([1, 4]))
def test_without_turns_or_by_quarter_turns_patches_are_plain_crops(generator, turns):
    scenes = noise_scenes(generator)
    draw = draw_patches(patch_places(scenes, 16), 3, 2, turns=turns, generator=generator)
    patches = cut_patches(scenes, draw, 16)
    for b in range(3):
        row, column = draw.corner[b].tolist()
        crop = scenes[int(draw.scene[b])].images["B"][:, row : row + 16, column : column + 16]
        quarter = round(float(draw.degrees[1, b]) / 90)
        expected = torch.rot90(crop, quarter, (1, 2))
        torch.testing.assert_close(patches[1][b], expected, atol=2e-5, rtol=2e-5)


@given(seeds(), st.floats(0, 360))
def test_what_is_not_in_the_scene_is_reflected(generator, angle):
    """Equality with a scene that NumPy has continued."""
    (scene,) = noise_scenes(generator, count=1, size=20)
    degrees = torch.tensor([[angle], [angle]])
    draw = Draw(torch.tensor([0]), torch.tensor([[0, 2]]), degrees)
    continued = Scene(
        "", {m: torch.from_numpy(np.pad(x, ((0, 0), (9, 9), (9, 9)), "reflect"))
             for m, x in scene.images.items()}
    )  # fmt: skip
    moved = Draw(draw.scene, draw.corner + 9, degrees)
    for one, other in zip(
        cut_patches([scene], draw, 18), cut_patches([continued], moved, 18), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@given(seeds(), st.integers(0, 1000))
@few(5)
def test_scenes_on_disk_give_the_patches_of_scenes_in_memory(tmp_path_factory, generator, seed):
    folder = tmp_path_factory.mktemp("scenes")
    for modality in ("A", "B"):
        (folder / modality).mkdir()
        for name in ("1", "2"):
            pixels = torch.randint(0, 60000, (70, 90), generator=generator).numpy()
            tifffile.imwrite(folder / modality / f"{name}.tif", pixels.astype(np.uint16))
    folders = [folder / "A", folder / "B"]
    cut = []
    for in_memory in (True, False):
        scenes = read_scenes(folders, in_memory=in_memory)
        draw = draw_patches(
            patch_places(scenes, 32), 6, 2, generator=torch.Generator().manual_seed(seed)
        )
        cut.append(torch.stack(cut_patches(scenes, draw, 32)))
    assert torch.equal(*cut)


def batches(generator, augmentation=None):
    scenes = noise_scenes(generator)
    scalings = {m: percentile_scaling(sample_pixels(scenes, m)) for m in ("A", "B")}
    return Batches(scenes, scalings, patch_places(scenes, 24), 3, 7, augmentation=augmentation)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
@pytest.mark.parametrize("augmentation", [None, EVERYTHING])
def test_any_number_of_workers_gives_the_same_batches(rng, augmentation):
    made = batches(rng, augmentation)
    streams = [list(in_order(made, 2, 6, workers=workers)) for workers in (0, 1, 2)]
    for stream in streams[1:]:
        assert len(stream) == 4
        for (draw, patches), (other_draw, others) in zip(streams[0], stream, strict=True):
            assert torch.equal(draw.degrees, other_draw.degrees)
            assert all(torch.equal(a, b) for a, b in zip(patches, others, strict=True))
    assert not torch.equal(streams[0][0][1][0], streams[0][1][1][0])
    with pytest.raises(ValueError, match="workers: expected 0 or more"):
        next(in_order(made, 0, workers=-1))


@given(seeds(), st.integers(0, 50))
def test_a_batch_depends_on_its_own_number_alone(generator, step):
    made = batches(generator)
    fresh = next(in_order(made, step))
    after_others = next(in_order(made, step))
    assert torch.equal(fresh[1][0], after_others[1][0])
    assert not torch.equal(fresh[1][0], made[step + 1][1][0])


@given(seeds(), st.integers(1, 3))
def test_all_patches_of_a_batch_have_the_modalities_that_its_scenes_have(generator, lacking):
    """Scenes that lack one make batches of their own, about as often as their area says."""
    scenes = [
        Scene(s.name, {**s.images, "C": -s.images["A"]} if n >= lacking else s.images)
        for n, s in enumerate(noise_scenes(generator, count=4))
    ]
    scalings = {m: percentile_scaling(sample_pixels(scenes, m)) for m in ("A", "B", "C")}
    made = Batches(scenes, scalings, patch_places(scenes, 24), 3, 7)
    poor = 0
    for step in range(40):
        draw = made.draw(step)
        assert all(set(draw.modalities) == set(scenes[i].images) for i in draw.scene.tolist())
        assert draw.degrees.shape == (len(draw.modalities), 3)
        poor += len(draw.modalities) == 2
    assert abs(poor / 40 - lacking / 4) < 0.35
    draw, patches = made[0]
    assert [p.shape for p in patches] == [(3, 1, 24, 24)] * len(draw.modalities)
    again = Draw.from_lists(json.loads(json.dumps(draw.as_lists())))
    assert again.modalities == draw.modalities


def test_patches_are_not_centred_on_background(rng):
    image = torch.zeros(1, 64, 64)
    image[:, 20:40, 24:44] = 1 + torch.rand(1, 20, 20, generator=rng)
    (places,) = patch_places([Scene("brain", {"T1": image, "T2": image})], 16)
    uniform = torch.rand(500, 3, generator=rng, dtype=torch.float64)
    centre = torch.stack([places.corner(u) for u in uniform]) + 8
    assert image[0, centre[:, 0], centre[:, 1]].min() > 0
    assert (places.cell, places.area) == (1, 20 * 20)
    assert len(centre.unique(dim=0)) > 250


def test_large_scenes_are_mapped_by_cells_and_every_patch_lies_inside(rng):
    image = torch.zeros(1, 900, 700)
    image[:, 300:500, 200:700] = 1 + torch.rand(1, 200, 500, generator=rng)
    (places,) = patch_places([Scene("slide", {"A": image, "B": image})], 64)
    assert places.cell == 2
    uniform = torch.rand(500, 3, generator=rng, dtype=torch.float64)
    corner = torch.stack([places.corner(u) for u in uniform])
    assert corner.amin() >= 0
    assert corner[:, 0].max() <= 900 - 64
    assert corner[:, 1].max() == 700 - 64  # up to the border, not beyond
    centre = corner + 32
    assert (centre[:, 0] - 399.5).abs().max() <= 100 + places.cell
    assert centre[:, 1].min() >= 200 - places.cell


@given(seeds(), st.integers(16, 24))
def test_patches_lie_in_the_mask(generator, size):
    (scene,) = noise_scenes(generator, count=1, size=60)
    mask = torch.zeros(60, 60, dtype=torch.bool)
    mask[10:50, 15:58] = True
    (places,) = patch_places([Scene("m", scene.images, mask)], size)
    uniform = torch.rand(100, 3, generator=generator, dtype=torch.float64)
    for row, column in torch.stack([places.corner(u) for u in uniform]).tolist():
        assert mask[row : row + size, column : column + size].float().mean() >= 0.9 - 1e-6
    (free,) = patch_places([Scene("m", scene.images)], size)
    assert free.area > places.area


def test_scenes_without_room_are_refused():
    scene = Scene("small", {"A": torch.rand(1, 20, 40), "B": torch.rand(1, 20, 40)})
    with pytest.raises(ValueError, match="at most 20 pixels, the extent of scene small, got 32"):
        patch_places([scene], 32)
    empty = Scene("empty", {"A": torch.ones(1, 40, 40), "B": torch.rand(1, 40, 40)})
    with pytest.raises(ValueError, match="scene empty: expected content"):
        patch_places([empty], 16)


@given(seeds(), st.floats(1.5, 40))
def test_the_pixels_that_a_scaling_is_computed_from_are_spread_and_never_masked_out(
    generator, thinned
):
    scenes = noise_scenes(generator, count=2, size=200)
    assert torch.equal(torch.stack(sample_pixels(scenes, "A"))[:, 0], torch.stack(
        [s.images["A"][0] for s in scenes]))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equicomir.images.pairs._SAMPLED", int(2 * 200 * 200 / thinned))
        some = sample_pixels(scenes, "A")
        count = sum(piece.numel() for piece in some)
        assert count < 2 * 200 * 200
        spread = torch.cat([piece.flatten() for piece in some]).std()
        assert 0.8 < spread < 1.2
        mask = torch.zeros(200, 200, dtype=torch.bool)
        mask[:, ::2] = True
        spoiled = scenes[0].images["A"].where(mask, 1e6)
        masked = sample_pixels([Scene("", {"A": spoiled}, mask)], "A")
        assert max(float(piece.max()) for piece in masked) < 1e3
