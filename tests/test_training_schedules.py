"""Schedules, averages, validation, several processes."""

import json
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from test_training_survival import QUICK, TINY, noise, weights
from torch import nn

from equicomir.encoders.normalisation import BatchNorm2d, BatchNorm3d
from equicomir.encoders.steerable import FourierActivation
from equicomir.images.batches import mixed_seed
from equicomir.images.intensities import Scaling
from equicomir.losses.contrastive import info_nce
from equicomir.losses.weighted import Penalties
from equicomir.representations import EncoderSettings, Representations
from equicomir.training.loop import train
from equicomir.training.processes import from_all_processes
from equicomir.training.schedule import MEASURED, rate
from equicomir.training.start import new_model, penalty_of
from equicomir.training.watching import spread


@given(st.integers(15, 300), st.floats(1e-4, 1))
def test_one_cycle_is_torchs(total, peak):
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=peak / 25)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, peak, total_steps=total - MEASURED + 1
    )  # fmt: skip
    for step in range(MEASURED - 1, total):
        ours = rate("one_cycle", step, total, peak)
        group = optimiser.param_groups[0]
        assert ours == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9, abs=1e-12)
        optimiser.step()
        if step < total - 1:
            theirs.step()


@given(st.integers(15, 300), st.integers(0, 14), st.sampled_from(["one_cycle", "cosine"]))
def test_rates_stay_below_the_peak_and_the_first_need_no_total(total, warm_up, schedule):
    rates = [rate(schedule, step, total, 2.0, warm_up)[0] for step in range(total)]
    assert 0 < min(rates) <= max(rates) <= 2.0
    assert max(rates) > 1.8 if total > 60 else True
    unknown = [rate(schedule, step, None, 2.0, warm_up)[0] for step in range(MEASURED)]
    assert rates[:MEASURED] == unknown
    after = rates[max(warm_up, MEASURED) - 1 :] if schedule == "cosine" else []
    assert after == sorted(after, reverse=True)


def test_averaged_weights_are_those_that_the_model_gets():
    scenes = noise()
    plain = replace(QUICK, average=0.0, steps=6)
    trail = []
    train(scenes, TINY, replace(plain, validations=6), quiet=True,
          validate=lambda model: trail.append(weights(model)) or float(len(trail)))  # fmt: skip
    start = weights(train(scenes, TINY, replace(plain, steps=1, learning_rate=1e-30),
                          quiet=True).model)  # fmt: skip
    assert len(trail) == 6
    done = train(scenes, TINY, replace(plain, average=0.5), quiet=True)
    network = {name: value.clone() for name, value in done.model.state_dict().items()}
    learned = [name for name, value in network.items() if value.is_floating_point()]
    floats = torch.cat([network[name].flatten() for name in learned])
    assert not torch.equal(weights(done.model), trail[-1])
    # By hand, from the weights after each step (running statistics begin elsewhere).
    parameters = dict(done.model.named_parameters())
    mask = torch.cat([
        torch.full((value.numel(),), name in parameters) for name, value in network.items()
    ])  # fmt: skip
    expected = start[mask]
    for step, after in enumerate(trail):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * after[mask]
    torch.testing.assert_close(weights(done.model)[mask], expected, atol=1e-6, rtol=1e-5)
    assert floats.isfinite().all()


def test_the_best_validated_model_is_kept_and_patience_ends_the_run(tmp_path):
    scores, seen = iter([0.1, 0.9, 0.3, 0.2, 0.8, 0.1]), []

    def validate(model):
        assert not model.training
        seen.append(weights(model))
        return next(scores)

    settings = replace(QUICK, steps=18, validations=6, patience=2)
    done = train(noise(), TINY, settings, validate=validate, folder=tmp_path, quiet=True)
    assert done.validations == [(3, 0.1), (6, 0.9), (9, 0.3), (12, 0.2)]
    assert len(done.losses) == 12
    assert torch.equal(weights(done.model), seen[1])
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    assert [line.split(",")[-1] for line in lines if line.split(",")[-1]] == [
        "validation", "0.1", "0.9", "0.3", "0.2"
    ]  # fmt: skip


def test_clipping_bounds_the_step_and_cosine_trains():
    scenes = noise()
    free = train(scenes, TINY, replace(QUICK, steps=3), quiet=True)
    clipped = train(scenes, TINY, replace(QUICK, steps=3, clip=1e-6), quiet=True)
    assert not torch.equal(weights(free.model), weights(clipped.model))
    cosine = replace(QUICK, steps=12, schedule="cosine", warm_up=3)
    assert len(train(scenes, TINY, cosine, quiet=True).losses) == 12


def test_penalties_are_learned_from_by_settings_and_as_an_object():
    scenes, settings = noise(), replace(QUICK, steps=3)
    weighed = Penalties(gradient_agreement=5.0)
    told = train(scenes, TINY, replace(settings, penalties=weighed), quiet=True)
    given_one = train(scenes, TINY, settings, penalty=penalty_of(told.settings), quiet=True)
    plain = train(scenes, TINY, settings, quiet=True)
    assert told.losses == given_one.losses
    assert torch.equal(weights(told.model), weights(given_one.model))
    assert told.losses[0] > plain.losses[0]
    assert not torch.equal(weights(told.model), weights(plain.model))


def test_scenes_may_lack_a_modality_but_not_all_but_one(tmp_path):
    whole = [replace(s, images={**s.images, "C": -s.images["A"]}) for s in noise()]
    some = [whole[0], *(replace(s, images=dict(list(s.images.items())[:2])) for s in whole[1:])]
    settings = replace(QUICK, steps=6)
    model = train(some, TINY, settings, quiet=True).model
    assert list(model.scalings) == ["A", "B", "C"]
    before = new_model(some, TINY, settings).state_dict()
    learned = {
        name.split(".")[1]
        for name, value in model.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert learned == {"0", "1", "2"}
    alone = [whole[0], replace(whole[1], name="alone", images={"A": whole[1].images["A"]})]
    with pytest.raises(ValueError, match="scene alone: expected at least two modalities, got"):
        train(alone, TINY, settings, quiet=True)

    class Two(Fabric):
        world_size = 2

    with pytest.raises(ValueError, match="expected all modalities in every scene with 2 proc"):
        train(some, TINY, settings, fabric=Two(accelerator="cpu", devices=1), quiet=True)


def test_a_model_can_begin_from_another():
    scenes = noise()
    first = train(scenes, TINY, QUICK, quiet=True).model
    still = replace(QUICK, steps=1, learning_rate=1e-30, average=0.0)
    again = train(scenes, TINY, still, initial=first, quiet=True).model
    kept = [n for n, _ in first.named_parameters()]
    for name in kept:
        assert torch.equal(first.state_dict()[name], again.state_dict()[name])


def test_a_score_that_is_no_number_is_told_and_kept_for_no_best():
    settings = replace(QUICK, steps=4, validations=2)
    with pytest.raises(ValueError, match="validate: expected a score, got nan after 2 steps"):
        train(noise(), TINY, settings, validate=lambda model: float("nan"), quiet=True)


def test_what_a_step_draws_for_itself_is_the_same_with_workers():
    def drawing(representations):
        return representations.square().mean() * (1 + torch.rand(()))

    alone, ahead = (
        train(noise(), TINY, replace(QUICK, steps=3, workers=n), loss=drawing, quiet=True).losses
        for n in (0, 1)
    )
    assert alone == ahead


def test_what_made_a_model_is_written_beside_it(tmp_path):
    train(noise(), TINY, QUICK, folder=tmp_path, quiet=True)
    told = json.loads((tmp_path / "settings.json").read_text())
    assert told["training"]["steps"] == QUICK.steps
    assert len(told["data"]) == 64
    assert {"versions", "commit", "command", "machine", "seconds", "losses"} <= told.keys()
    assert told["versions"]["torch"] == torch.__version__


def test_tensorboard_without_the_package_or_a_folder_is_told(tmp_path):
    with pytest.raises(ValueError, match="tensorboard: expected a folder"):
        train(noise(), TINY, QUICK, tensorboard=True, quiet=True)
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"pip install tensorboard, or read progress.csv"):
            train(noise(), TINY, QUICK, tensorboard=True, folder=tmp_path, quiet=True)


def test_spread_tells_collapse_from_health(rng):
    y = torch.randn(1, 8, 1, 16, 16, generator=rng)
    aligned, uniform, rank = spread(y.expand(2, -1, -1, -1, -1))
    assert aligned < 1e-5
    assert rank > 6
    same = y[:, :1].expand(2, 8, -1, -1, -1) + 1e-3 * torch.randn(2, 8, 1, 16, 16, generator=rng)
    assert spread(same)[1] > -0.1 > uniform
    one_pattern = y[:, :1] * torch.randn(1, 8, 1, 1, 1, generator=rng)
    assert spread(one_pattern.expand(2, -1, -1, -1, -1))[2] < 1.1


# ------------------------------------------------------------------- several processes

ENCODERS = [TINY, replace(TINY, family="plain"), replace(TINY, group="SO(2)")]
SHARED = replace(QUICK, steps=4, learning_rate=1e-4)


def loss_and_gradients(fabric, encoder):
    """Of a batch of 4 divided over the processes, in float64; and the statistics it leaves."""
    scaling = Scaling((0.0,), (1.0,))
    rng = torch.Generator().manual_seed(0)
    model = Representations({"A": scaling, "B": scaling}, encoder, generator=rng)
    network = fabric.setup(model.double())
    patches = torch.rand(2, 4, 1, 32, 32, generator=rng, dtype=torch.float64)
    each = 4 // fabric.world_size
    mine = patches[:, fabric.global_rank * each : (fabric.global_rank + 1) * each]
    seen = network(list(mine))
    loss = info_nce(from_all_processes(seen))
    penalty = Penalties(gradient_agreement=0.5, self_similarity=2.0).of(seen, list(mine))
    fabric.backward(loss + penalty)
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
    statistics = torch.cat([b.flatten().double() for b in model.buffers()])
    return [loss.item()], gradients.tolist(), statistics.tolist()


def everything(fabric, file):
    """All that is compared between one process and two, into a file: a launcher gives little back,
    and starting processes is what takes time.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    told = [loss_and_gradients(fabric, encoder) for encoder in ENCODERS]
    done = train(noise(), TINY, SHARED, fabric=fabric, quiet=True)
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(fabric.global_rank))
    own, shared = nn.BatchNorm2d(3), BatchNorm2d(3)  # the planted fault: its own statistics
    apart = float((own(x) - shared(x)).detach().abs().max())
    if fabric.world_size > 1:  # gloo's threads must end before their process does
        fabric.barrier()
        torch.distributed.destroy_process_group()
    if fabric.is_global_zero:
        file.write_text(json.dumps([told, weights(done.model).tolist(), done.losses, apart]))


def test_two_processes_give_the_loss_the_gradients_and_the_model_of_one(tmp_path):
    everything(Fabric(accelerator="cpu", devices=1), tmp_path / "1")
    pair = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    pair.launch(partial(everything, file=tmp_path / "2"))
    one, two = (json.loads((tmp_path / name).read_text()) for name in "12")
    for ours, theirs in zip(two[0], one[0], strict=True):
        for shared, alone in zip(ours, theirs, strict=True):
            shared, alone = torch.tensor(shared), torch.tensor(alone)
            torch.testing.assert_close(shared, alone, atol=1e-9, rtol=1e-6)
        assert max(map(abs, theirs[1])) > 1e-4
    for shared, alone in zip(two[1:3], one[1:3], strict=True):
        shared, alone = torch.tensor(shared), torch.tensor(alone)
        torch.testing.assert_close(shared, alone, atol=1e-4, rtol=1e-3)
    assert one[3] == 0
    assert two[3] > 1e-3


def test_one_process_has_torchs_own_normalisation(rng):
    x = torch.randn(3, 2, 4, 6, 6, generator=rng)
    ours, theirs = BatchNorm3d(2), nn.BatchNorm3d(2)
    assert torch.equal(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert FourierActivation(2, False)(torch.randn(2, 14, 8, 8, generator=rng)).isfinite().all()


def test_a_batch_that_cannot_be_shared_is_refused():
    class Three(Fabric):
        world_size = 3

    with pytest.raises(ValueError, match="batch: expected a multiple of the 3 processes, got 4"):
        train(noise(), TINY, QUICK, fabric=Three(accelerator="cpu", devices=1), quiet=True)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_seeds_and_steps_do_not_meet(seed, step):
    seeds = {mixed_seed(s, t) for s in (seed, seed + 1) for t in (step, step + 1)}
    assert len(seeds) == 4


def test_tiramisu_with_its_dropout_repeats_itself():
    settings = replace(QUICK, steps=1, patch_size=64, batch=2)
    encoder = EncoderSettings(family="tiramisu", group="C8")
    one, two = (train(noise(), encoder, settings, quiet=True).losses for _ in range(2))
    assert one == two
