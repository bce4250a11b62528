"""Runs that are killed, interrupted, starved of disk or given damaged checkpoints."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import few

from equicomir.images.pairs import Scene
from equicomir.representations import EncoderSettings, load
from equicomir.training import checkpoints
from equicomir.training.checkpoints import BEFORE, LAST, read_checkpoint, write_checkpoint
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings

TINY = EncoderSettings(group="C4", widths=(1, 1), kernel_size=3)
QUICK = TrainingSettings(
    steps=16, patch_size=32, batch=4, high_pass_cutoff=0.2, average=0.9, checkpoint_seconds=1e-3
)


def noise():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 2, 1, 64, 64, generator=generator)
    return [Scene(name, {"A": x[0], "B": x[1]}) for name, x in zip("ab", images, strict=True)]


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.state_dict().values()])


def stopped_after(steps, folder, **options):
    """A run that is broken off in mid-step."""
    from equicomir.losses.contrastive import info_nce

    seen = []

    def breaking(representations):
        seen.append(1)
        if len(seen) > steps:
            raise RuntimeError("killed")
        return info_nce(representations)

    with pytest.raises(RuntimeError, match="killed"):
        train(noise(), TINY, QUICK, loss=breaking, folder=folder, quiet=True, **options)


@pytest.mark.parametrize("steps", [0, 1, 9, 11, 15])
def test_a_run_broken_off_anywhere_ends_as_if_it_had_not_been(tmp_path, steps):
    from equicomir.losses.contrastive import info_nce

    whole = train(noise(), TINY, QUICK, loss=info_nce, folder=tmp_path / "whole", quiet=True)
    stopped_after(steps, tmp_path / "broken")
    again = train(noise(), TINY, QUICK, loss=info_nce, folder=tmp_path / "broken", quiet=True)
    assert torch.equal(weights(whole.model), weights(again.model))
    assert whole.losses == again.losses
    lines = [
        (tmp_path / name / "progress.csv").read_text().splitlines() for name in ("whole", "broken")
    ]
    assert [line.split(",")[0] for line in lines[0]] == [line.split(",")[0] for line in lines[1]]
    assert [line.split(",")[2] for line in lines[0]] == [line.split(",")[2] for line in lines[1]]
    # The control: from the step alone, without the checkpoint, the end is another.
    fresh = train(noise(), TINY, replace(QUICK, seed=1), loss=info_nce, quiet=True)
    assert not torch.equal(weights(whole.model), weights(fresh.model))


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_training_survival import QUICK, TINY, noise
from dataclasses import replace
from equicomir.training.loop import train
done = train(noise(), TINY, replace(QUICK, steps=90), folder=Path(sys.argv[1]), quiet=True)
print("ended", len(done.losses))
"""


def started(folder):
    here = os.path.dirname(__file__)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for_steps(folder, process):
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        path = folder / "progress.csv"
        if path.exists() and len(path.read_text().splitlines()) > 12:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights(tmp_path):
    for _ in range(2):
        process = started(tmp_path / "killed")
        wait_for_steps(tmp_path / "killed", process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert read_checkpoint(tmp_path / "killed") is not None
    longer = replace(QUICK, steps=90)
    torch.set_num_threads(1)
    again = train(noise(), TINY, longer, folder=tmp_path / "killed", quiet=True)
    whole = train(noise(), TINY, longer, quiet=True)
    assert torch.equal(weights(whole.model), weights(again.model))
    assert torch.equal(weights(load(tmp_path / "killed")), weights(whole.model))


def test_ctrl_c_saves_and_ends(tmp_path):
    process = started(tmp_path)
    wait_for_steps(tmp_path, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    tensors, facts, _ = read_checkpoint(tmp_path)
    steps = int((tmp_path / "progress.csv").read_text().splitlines()[-1].split(",")[0])
    assert len(tensors["losses"]) == steps
    assert facts["total"] == 90


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(tmp_path, capsys):
    from equicomir.losses.contrastive import info_nce

    stopped_after(8, tmp_path)
    content = bytearray((tmp_path / LAST).read_bytes())
    content[-5] ^= 1
    (tmp_path / LAST).write_bytes(content)
    again = train(noise(), TINY, QUICK, loss=info_nce, folder=tmp_path, quiet=True)
    assert "expected a whole checkpoint, got: its checksum is another" in capsys.readouterr().err
    whole = train(noise(), TINY, QUICK, loss=info_nce, quiet=True)
    assert torch.equal(weights(whole.model), weights(again.model))


@few(30)
@given(st.data())
def test_one_changed_byte_anywhere_is_seen(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoint")
    state = {"x": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}
    write_checkpoint(folder, state, {"step": 1})
    content = bytearray((folder / LAST).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.sampled_from([1, 16, 128]))
    (folder / LAST).write_bytes(content)
    try:
        read = read_checkpoint(folder)
    except ValueError as error:
        read, said = None, str(error)
    # Either it is told, or what changed says nothing (the padding of a header).
    if read is None:
        assert "no whole one" in said
    else:
        assert read[1] == {"step": 1}
        assert torch.equal(read[0]["x"], state["x"])


def test_a_pickle_is_no_checkpoint(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / LAST)
    with pytest.raises(ValueError, match=r"checkpoint.safetensors: expected a whole checkpoint"):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="there is no whole one; remove it to start anew"):
        train(noise(), TINY, QUICK, folder=tmp_path, quiet=True)


def test_a_full_disk_keeps_the_checkpoint_before_and_the_run(tmp_path, monkeypatch, capsys):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if 3 < len(calls) < 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    done = train(noise(), TINY, QUICK, folder=tmp_path, quiet=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert "expected room for a checkpoint, got: No space left on device" in said[0]
    assert len(done.losses) == QUICK.steps
    kept = {path.name for path in tmp_path.iterdir()}
    model = {"weights.safetensors", "settings.json"}
    assert kept == {LAST, BEFORE, "progress.csv"} | model


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train(noise(), TINY, QUICK, folder=tmp_path / "file" / "run", quiet=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, r"got another seed \(0, not 5\)"),
        ({"temperature": 0.3}, "got another temperature"),
    ],
)
def test_another_run_in_the_folder_is_refused(tmp_path, change, message):
    train(noise(), TINY, replace(QUICK, steps=2), folder=tmp_path, quiet=True)
    with pytest.raises(ValueError, match=message):
        train(noise(), TINY, replace(QUICK, steps=2, **change), folder=tmp_path, quiet=True)
    with pytest.raises(ValueError, match="got another data"):
        train(noise()[:1], TINY, replace(QUICK, steps=2), folder=tmp_path, quiet=True)
    indifferent = replace(QUICK, steps=2, workers=1, checkpoint_seconds=99)
    train(noise(), TINY, indifferent, folder=tmp_path, quiet=True)


def test_the_default_models_checkpoint_is_small(tmp_path):
    default = TrainingSettings(steps=1, average=0.99)
    big = torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    train([Scene("a", {"A": big[0], "B": big[1]})], EncoderSettings(), default, folder=tmp_path,
          quiet=True)  # fmt: skip
    assert (tmp_path / LAST).stat().st_size < 2**20
