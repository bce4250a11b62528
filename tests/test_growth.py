"""How time and memory grow: what is counted, what is fitted, what is recorded once, and drawn."""

import contextlib
import io
import json
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from made_up_records import MACHINE, ROOT, drawn_twice, script
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch.utils.flop_counter import FlopCounterMode

from equicomir.encoders.export import Ordinary
from equicomir.encoders.steerable import steerable
from equicomir.evaluation import records
from equicomir.losses.contrastive import info_nce

timing = script("benchmarks", "timing")
limits = script("benchmarks", "limits")
points = script("benchmarks", "growth_points")
growth = script("benchmarks", "growth")
escnn_unet = script("benchmarks", "escnn_unet")
loss_speed = script("benchmarks", "loss_speed")
encoders = script("benchmarks", "encoders")
script("paper_figures", "script")
style = script("paper_figures", "style")
script("paper_figures", "sources")
script("paper_figures", "tables")
curves = script("paper_figures", "growth_curves")
fig9 = script("paper_figures", "fig9_growth")
table4 = script("paper_figures", "table4_growth")
page = script("paper_figures", "growth_page")


def line(series, value, *, seconds, peak=1e6, operations=10**9, threads=2, quick=False):
    """A made-up record of one point."""
    of = points.SERIES[series].of
    settings = {"series": series, "of": of, "value": value, "quick": quick, "threads": threads}
    rates = {"product": 5e10, "convolution": 4e10, "copy": 1e10}
    facts = {"seconds": [seconds] * 3, "peak_bytes": peak, "operations": operations}
    facts |= {"bytes": 3 * operations, "rates": rates, "machine": MACHINE, "pairs": []}
    return {"key": records.run_key(settings), "settings": settings, **facts}


def written(folder, lines):
    path = folder / curves.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder


def made_up(power=2.0):
    return [
        line(series, value, seconds=1e-4 * value**power, peak=value**1.5 * 1e4, operations=value**2)
        for series, of in points.SERIES.items()
        for value in of.values
    ]


# ---------------------------------------------------------------- what is fitted


@given(
    power=st.floats(-1, 4),
    scale=st.floats(1e-6, 1e6),
    first=st.integers(1, 64),
    count=st.integers(3, 8),
    seed=st.integers(0, 10**6),
)
def test_a_planted_power_law_is_found_within_its_interval(power, scale, first, count, seed):
    values = first * 2.0 ** np.arange(count)
    exact = scale * values**power
    found = curves.fit(values.tolist(), exact.tolist())
    assert found.exponent == pytest.approx(power, abs=1e-6)
    assert found.last == pytest.approx(power, abs=1e-6)
    assert found.high - found.low < 1e-4
    other = curves.fit(values.tolist(), (exact * values).tolist())  # planted fault: one power more
    assert other.exponent == pytest.approx(power + 1, abs=1e-6)
    noisy = exact * np.exp(0.1 * np.random.default_rng(seed).standard_normal(count))
    spread = curves.fit(values.tolist(), noisy.tolist())
    assert spread.low < spread.exponent < spread.high
    assert abs(spread.exponent - power) < 0.6


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, values = np.random.default_rng(0), 2.0 ** np.arange(5)
    held = 0
    for _ in range(400):
        noisy = values**2 * np.exp(0.2 * rng.standard_normal(5))
        found = curves.fit(values.tolist(), noisy.tolist())
        held += found.low < 2 < found.high
    assert 0.92 < held / 400 < 0.98


def test_nothing_is_fitted_to_two_points_and_what_is_not_positive_is_left_out():
    assert curves.fit([1, 2], [1.0, 4.0]) is None
    assert curves.fit([1, 2, 4], [0.0, 4.0, 16.0]) is None
    assert curves.fit([1, 2, 4, 8], [0.0, 4.0, 16.0, 64.0]).exponent == pytest.approx(2)


@given(st.floats(0, 4), st.integers(2, 6))
def test_the_next_point_is_expected_along_the_power_law(power, count):
    values = [2**n for n in range(count)]
    amounts = [3.0 * v**power for v in values]
    expected = growth.next_of(values, amounts, 2 * values[-1])
    assert expected == pytest.approx(3.0 * (2 * values[-1]) ** power)
    assert growth.next_of([4], [3.0], 8) == 12.0  # of one point: with the square


# ---------------------------------------------------------------- what is counted


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.sampled_from((1, 3, 5)))
def test_operations_of_convolutions_are_those_of_a_hand_count(batch, into, out, size):
    images, kernel = torch.randn(batch, into, 8, 9), torch.randn(out, into, size, size)
    with limits.counted() as counts:
        torch.nn.functional.conv2d(images, kernel, padding=size // 2)
    assert counts.operations == 2 * batch * into * out * size**2 * 8 * 9
    assert counts.bytes == 4 * (images.numel() + kernel.numel() + batch * out * 8 * 9)


def test_operations_of_a_training_step_are_those_of_torch():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 3)
    )
    images = torch.randn(2, 1, 12, 12)

    def step():
        network(images).square().mean().backward()

    with limits.counted() as counts:
        step()
    with FlopCounterMode(display=False) as torchs:
        step()
    assert counts.operations == torchs.get_total_flops() > 0


def test_an_exported_encoder_does_what_its_convolutions_do():
    encoder = steerable(widths=(1, 2), kernel_size=3, generator=torch.Generator().manual_seed(0))
    ordinary, images = Ordinary(encoder), torch.randn(1, 1, 16, 16)
    pixels = 16 * 16
    convolutions = [
        (1, 8, 9, pixels),  # from the image
        (8, 16, 9, pixels // 4),  # down
        (16, 16, 9, pixels // 4),
        (16, 8, 1, pixels // 4),  # pointwise, before going up
        (8, 8, 9, pixels),  # up
        (8, 1, 1, pixels),  # the head
    ]
    with torch.inference_mode(), limits.counted() as counts:
        ordinary(images)
    assert counts.operations == sum(2 * i * o * taps * p for i, o, taps, p in convolutions)


def test_operations_of_fourier_transforms_and_bytes_that_are_only_seen():
    images = torch.randn(3, 8, 16)
    with limits.counted() as counts:
        spectrum = torch.fft.rfft2(images)
    assert counts.operations == round(2.5 * images.numel() * (3 + 4))
    with limits.counted() as back:
        torch.fft.irfft2(spectrum)
    assert back.operations > 0
    with limits.counted() as seen:
        images.transpose(1, 2)[:, 2:].unsqueeze(0)
    assert (seen.operations, seen.bytes) == (0, 0)
    with limits.counted() as spread:
        torch.ones(1).expand(1000) + torch.zeros(1000)
    assert spread.bytes < 4 * 4 * 1000  # one value that is seen as many is read once


def test_the_rates_of_the_machine_are_positive():
    assert min(limits.rates(32, 1).values()) > 0


# ---------------------------------------------------------------- the peers


@pytest.mark.parametrize("group", ["C4", "D4", "SO(2)"])
def test_escnns_network_is_the_same_network(group):
    theirs = escnn_unet.EscnnUNet(group, widths=(1, 2), kernel_size=3)
    ours = steerable(
        group=group, widths=(1, 2), kernel_size=3, generator=torch.Generator().manual_seed(0)
    )
    sizes = [sum(p.numel() for p in network.parameters()) for network in (theirs, ours)]
    assert sizes[0] == sizes[1]
    images = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    turned = torch.rot90(theirs(images), 1, (2, 3))
    assert torch.allclose(theirs(torch.rot90(images, 1, (2, 3))), turned, atol=1e-4)
    counted = []
    for network in (theirs, ours):
        with limits.counted() as counts:
            network.eval()(images)
        counted.append(counts.operations)
    if group != "SO(2)":  # whose Fourier layers are written differently
        with torch.inference_mode(), limits.counted() as counts:
            Ordinary(ours)(images)
        assert counts.operations <= min(counted)


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_comirs_loop_has_the_value_and_the_gradient_of_the_loss(batch, seed):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(2, batch, 1, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    losses = (info_nce(y), loss_speed.comir_loop(y), loss_speed.pairwise_loop(y))
    gradients = [torch.autograd.grad(loss, y)[0] for loss in losses]
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        assert torch.allclose(loss, losses[0], rtol=1e-9)
        assert torch.allclose(gradient, gradients[0], atol=1e-12)
    wrong = loss_speed.comir_loop(y, temperature=1.0)  # planted fault: another temperature
    assert not torch.allclose(wrong, losses[0], rtol=1e-9)


def test_acts_are_timed_in_turn_and_the_first_round_is_not_kept():
    order = []
    acts = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = timing.in_turn(acts, 2)
    assert order == ["a", "b"] * 3
    assert {name: len(of) for name, of in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("module", [encoders, loss_speed], ids=lambda m: m.__name__)
def test_the_tables_of_ratios_are_printed(module, monkeypatch):
    monkeypatch.setattr(sys, "argv", [module.__name__, "--quick"])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        module.main()
    words = {encoders: ("step / escnn", "3 x 3"), loss_speed: ("CoMIR's / loss", "bytes a pixel")}
    for word in words[module]:
        assert word in printed.getvalue()


# ---------------------------------------------------------------- what is recorded


@pytest.mark.parametrize("series", points.SERIES)
def test_every_series_can_be_measured(series, monkeypatch):
    monkeypatch.setattr(growth, "REPEATS", 1)
    found = growth.measured(series, points.SERIES[series].quick[0], quick=True)
    assert len(found["seconds"]) == 1
    assert min(found["rates"].values()) > 0
    assert (found["operations"] > 0) == (series != "features")


def test_a_run_goes_on_where_it_stopped(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["growth", "--records", str(tmp_path), "--quick"])
    sys.argv += ["--series", "loss_batch"]
    of = points.SERIES["loss_batch"]._replace(quick=(2,))  # a process less
    monkeypatch.setitem(points.SERIES, "loss_batch", of)
    growth.main()
    first = records.read(tmp_path / curves.FILE)
    assert [one["settings"]["value"] for one in first] == [2]
    assert first[0]["peak_bytes"] >= 0
    monkeypatch.setattr(growth.subprocess, "run", None)  # nothing is measured again
    growth.main()
    assert records.read(tmp_path / curves.FILE) == first


def test_a_series_ends_before_what_takes_too_long(monkeypatch, tmp_path, capsys):
    lines = [line("search", value, seconds=value**2 / 1e4, threads=1) for value in (256, 512)]
    written(tmp_path, [{**one} for one in lines])
    monkeypatch.setattr(growth.torch, "get_num_threads", lambda: 1)
    path = tmp_path / curves.FILE
    growth.measure_series(path, "search", most_seconds=100, quick=False)
    assert "size 1024 is left out: it would take about 105 s" in capsys.readouterr().out
    assert len(records.read(path)) == 2


def test_what_cannot_be_measured_is_one_sentence(tmp_path):
    settings = {"series": "search", "of": "size", "value": 4, "quick": True, "threads": 1}
    with pytest.raises(ValueError, match=r"^search at 4: (?!growth).*expected"):
        growth.of_point(tmp_path / curves.FILE, settings)


# ---------------------------------------------------------------- what is drawn


def test_curves_are_those_of_the_records(tmp_path):
    lines = made_up()
    written(tmp_path, [*lines, line("search", 64, seconds=9.0, quick=True)])
    found = curves.curves(tmp_path)
    assert list(found) == [name for name in curves.NAMES if name in points.SERIES]
    assert set(curves.NAMES) == set(points.SERIES)
    search = found["search"]
    assert search.values == list(points.SERIES["search"].values)
    assert search.time.exponent == pytest.approx(2)
    assert search.memory.exponent == pytest.approx(1.5)
    assert search.arithmetic[0] == pytest.approx(256**2 / 5e10)  # the better of the two rates
    assert search.traffic[0] == pytest.approx(3 * 256**2 / 1e10)


def test_the_figure_can_be_read_and_is_drawn_the_same_twice(monkeypatch, tmp_path):
    folder = written(tmp_path / "records", made_up())
    with style.house():
        figure = fig9.draw(curves.curves(folder))
        FigureCanvasAgg(figure).draw()
    assert style.overlapping(figure) == []
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "(a) registering a pair"
    search = figure.axes[0].get_lines()[0]
    assert list(search.get_ydata()) == curves.curves(folder)["search"].seconds

    def run(monkeypatch, of, out):
        monkeypatch.setattr(sys, "argv", ["fig9", "--records", str(of), "--out", str(out)])
        fig9.main()

    files, again = drawn_twice(run, monkeypatch, folder, tmp_path)
    assert files == again
    assert set(files) == {"fig9_growth.pdf", "fig9_growth.png", "fig9_growth.txt"}
    assert b"search up to 8192 px (6710.89 s)" in files["fig9_growth.txt"]


def test_the_table_has_a_line_a_series_and_the_page_holds_it(monkeypatch, tmp_path):
    folder = written(tmp_path, made_up())
    found, on = curves.curves(folder), curves.machine(folder)
    text = table4.table(found, on).markdown()
    assert "| search | 256 to 8192 | 2.00 (2.00 to 2.00) | 2.00 |" in text
    assert "50 GFLOP/s in a matrix product" in text
    monkeypatch.setattr(sys, "argv", ["p", "--records", str(folder), "--docs", str(tmp_path)])
    page.main()
    assert text in (tmp_path / "growth.md").read_text()
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_the_page_of_the_site_is_the_one_that_the_records_make(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["p", "--records", str(ROOT / "records")])
    sys.argv += ["--docs", str(tmp_path)]
    page.main()
    assert (tmp_path / "growth.md").read_text() == (ROOT / "docs" / "growth.md").read_text()


def test_what_is_missing_is_named_with_its_command(tmp_path):
    with pytest.raises(ValueError, match=f"run python benchmarks/growth.py --records {tmp_path}"):
        curves.curves(tmp_path)
    written(tmp_path, [line("search", 256, seconds=1.0, threads=t) for t in (1, 2)])
    with pytest.raises(ValueError, match=r"expected one number of threads, got \[1, 2\]"):
        curves.curves(tmp_path)
