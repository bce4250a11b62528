"""The gate: it lets the real objects through and refuses each broken one."""

from functools import partial

import pytest
import torch
from hypothesis import find, settings
from hypothesis.errors import NoSuchExample

from equicomir import gate, properties
from equicomir.encoders.plain import plain
from equicomir.encoders.steerable import steerable
from equicomir.filters import high_pass, reach
from equicomir.losses.contrastive import info_nce
from equicomir.losses.rotated_pairs import valid_disk

SIZE, CUTOFF = 24, 0.2
FILTER = partial(high_pass, cutoff=CUTOFF)
OPTIONS = {"temperature": 0.5, "mask": valid_disk(SIZE, reach(CUTOFF))}
NAIVE = partial(properties.naive_info_nce, image_filter=FILTER, **OPTIONS)


def broken(claims):
    return [v.name for v in gate.gate(claims, examples=6) if not v.held]


def loss_claims(loss):
    return properties.of_loss(loss, NAIVE, size=SIZE, filtered=True)


def test_what_is_right_passes(rng):
    loss = partial(info_nce, image_filter=FILTER, **OPTIONS)
    encoder = steerable(widths=(1, 2), generator=rng)
    claims = properties.of_encoder("encoder", encoder) + properties.of_filter(FILTER)
    assert broken(claims + loss_claims(loss)) == []


@pytest.mark.parametrize("group", ["C2", "C3", "C6"])
def test_an_encoder_without_quarter_turns_is_refused(group, rng):
    encoder = steerable(widths=(1, 2), group=group, generator=rng)
    (name,) = broken(properties.of_encoder("encoder of T1", encoder))
    assert "encoder of T1: turning the image by quarter turns" in name


def test_broken_encoders_are_refused(rng):
    whole = steerable(widths=(1, 2), generator=rng)
    one_weight_off = steerable(widths=(1, 2), generator=rng)
    with torch.no_grad():
        one_weight_off.stem[0].basis0[0, 0, 0, 0, 0] += 0.1

    def not_a_number(x):
        return whole(x) * torch.nan

    def raises(x):
        raise RuntimeError("no")

    for encoder in (plain(widths=(1, 2), generator=rng), one_weight_off, not_a_number, raises):
        assert len(broken(properties.of_encoder("e", encoder))) == 1
    (verdict,) = gate.gate(properties.of_encoder("e", raises), examples=3)
    assert verdict.reason == "RuntimeError: no"


def test_the_gate_leaves_the_encoder_as_it_was(rng):
    encoder = steerable(widths=(1, 2), generator=rng).train()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    broken(properties.of_encoder("e", encoder))
    assert encoder.training
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("image_filter", "law"),
    [
        (lambda x: x, "removes constants"),
        (lambda x: high_pass(x, CUTOFF).relu(), "is linear"),
        (lambda x: x - x.roll(1, dims=-1), "commutes with quarter turns"),
    ],
)
def test_broken_filters_are_refused(image_filter, law):
    assert any(law in name for name in broken(properties.of_filter(image_filter)))


def test_the_unfiltered_loss_fails_the_two_properties_of_constants():
    loss, naive = (partial(f, **OPTIONS) for f in (info_nce, properties.naive_info_nce))
    claims = properties.of_loss(loss, naive, size=SIZE, filtered=True)
    assert [name.split(": ")[1][:12] for name in broken(claims)] == ["adding a con", "its gradient"]
    assert broken(properties.of_loss(loss, naive, size=SIZE, filtered=False)) == []


def test_broken_losses_are_refused():
    def other_temperature(y):
        return info_nce(y, image_filter=FILTER, temperature=0.6, mask=OPTIONS["mask"])

    def anisotropic(y):
        return info_nce(y, image_filter=lambda x: x - x.roll(1, dims=-1), **OPTIONS)

    def whole_image(y):  # the corners of the mask are forgotten
        return info_nce(y, image_filter=FILTER, temperature=0.5)

    def leaning(y):  # looks at one half of the disk
        half = OPTIONS["mask"].clone()
        half[: SIZE // 2] = False
        return info_nce(y, image_filter=FILTER, temperature=0.5, mask=half)

    for loss in (other_temperature, anisotropic, whole_image, leaning):
        assert "loss: equals its naive double loop" in broken(loss_claims(loss))
    for loss in (anisotropic, leaning):
        assert any("turning all" in name for name in broken(loss_claims(loss)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("blocks", range(4, 10)),
        ("batch", range(2, 5)),
        ("quarter_turns", range(1, 4)),
        ("training", (False, True)),
        ("scale", (0.1, 1.0, 3.0)),
    ],
)
def test_every_configuration_is_drawn_now_and_then_and_no_other(name, values):
    many = settings(max_examples=500)
    with pytest.raises(NoSuchExample):
        find(properties.cases(), lambda case: getattr(case, name) not in values, settings=many)
    for value in values:
        find(properties.cases(), lambda case, v=value: getattr(case, name) == v, settings=many)


def test_cases_are_drawn_and_differ():
    seen = []
    claim = properties.Property("any", lambda case: seen.append(case) or 0.0, 1e-9)
    verdict = gate.check(claim, examples=10)
    assert verdict.held
    assert verdict.cases == len(seen) >= 10
    assert len({case.seed for case in seen}) > 3
    assert all(case.images(2, 1, 8, torch.float32).std() > 0 for case in seen)
