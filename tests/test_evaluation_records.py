"""Records survive killed processes and races: tested with real processes, some of them killed."""

import fcntl
import json
import math
import multiprocessing
import os
import platform
import signal
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome
from equicomir.evaluation.displacements import TestPair
from equicomir.images.fingerprint import fingerprint
from equicomir.images.pairs import Scene, read_scenes

PAIR = TestPair("any", "A", "B", "s", 1, 2, 100, 30.0, 1.0, -2.0)
OUTCOMES = [Outcome(PAIR, 0.5, 0.1), Outcome(PAIR, math.inf, 0.1, "ValueError: no")]

FORK = multiprocessing.get_context("fork")  # real processes, without importing torch anew


def work(path, name, count, seconds, pipe, start):
    """What a script does: every run that nobody else has and that is not done."""
    start.wait()
    for seed in range(count):
        settings = {"seed": seed}
        with records.claim(path, records.run_key(settings)) as mine:
            if mine:
                pipe.put((name, seed))
                time.sleep(seconds)
                records.append(path, OUTCOMES, settings=settings, by=name)


def started(path, names, count, seconds=0.0):
    """Processes that were let off at once, and what they say of the runs they begin."""
    pipe, start = FORK.Queue(), FORK.Barrier(len(names))
    workers = [
        FORK.Process(target=work, args=(path, name, count, seconds, pipe, start)) for name in names
    ]
    for worker in workers:
        worker.start()
    return workers, pipe


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
settings_drawn = st.dictionaries(st.text(max_size=5), json_values, min_size=1, max_size=5)


# ---------------------------------------------------------------- keys


@given(settings_drawn, st.randoms(use_true_random=False))
def test_the_key_is_of_what_the_settings_say_not_of_how(settings, random):
    key = records.run_key(settings)
    shuffled = list(settings.items())
    random.shuffle(shuffled)
    assert records.run_key(dict(shuffled)) == key
    assert records.run_key(json.loads(json.dumps(settings))) == key  # as a record gives it back
    assert len(key) == 32
    assert int(key, 16) >= 0


@given(settings_drawn, st.data())
def test_another_value_is_another_key(settings, data):
    name = data.draw(st.sampled_from(sorted(settings)))
    other = data.draw(json_values.filter(lambda v: json.dumps(v) != json.dumps(settings[name])))
    same = isinstance(other, float | int) and other == settings[name]  # 5 and 5.0
    if not same and not isinstance(other, list | dict):
        assert records.run_key({**settings, name: other}) != records.run_key(settings)
    assert records.run_key({**settings, name + "x": other}) != records.run_key(settings)


def test_the_key_stays_what_it_is():
    """Records outlive versions: this value must never change."""
    settings = {"method": "search", "width": 128, "minutes": 5.0, "widths": (2, 4), "é": None}
    assert records.run_key(settings) == "74603de5ea2fe2e81c446d49709ae9c3"
    assert records.run_key({**settings, "flag": True}) != records.run_key({**settings, "flag": 1})


@pytest.mark.parametrize(
    ("value", "error"), [(np.ones(2), TypeError), ({1, 2}, TypeError), (math.nan, ValueError)]
)
def test_what_is_no_json_is_refused_in_one_sentence(tmp_path, value, error):
    with pytest.raises(error, match="settings: expected JSON values"):
        records.run_key({"x": value})
    with pytest.raises(error, match="facts: expected JSON values"):
        records.append(tmp_path / "r.jsonl", [], fact=value)
    assert not (tmp_path / "r.jsonl").exists()


# ---------------------------------------------------------------- lines


def test_a_record_repeats_everything_and_names_no_host(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    settings = {"method": "search", "seed": 3}
    records.append(path, OUTCOMES, settings=settings, data="abc", gate=[{"held": True}])
    (record,) = records.read(path)
    assert record["key"] == records.run_key(settings) == records.run_key(record["settings"])
    assert record["settings"] == settings
    assert record["data"] == "abc"
    assert {"python", "torch", "numpy", "escnn", "equicomir"} <= set(record["versions"])
    assert record["machine"]["cores"] == os.cpu_count()
    assert record["machine"]["processor"]
    assert platform.node() not in path.read_text()
    assert [pair["corner_error"] for pair in record["pairs"]] == [0.5, None]
    assert records.done(path) == {record["key"]: record}


def test_an_error_that_is_no_number_is_a_failure_not_the_end_of_the_run(tmp_path):
    path = tmp_path / "r.jsonl"
    records.append(path, [Outcome(PAIR, math.nan, 0.1), Outcome(PAIR, math.inf, 0.1)])
    assert [pair["corner_error"] for pair in records.read(path)[0]["pairs"]] == [None, None]


@given(st.data())
def test_a_torn_last_line_is_left_out_and_then_taken_away(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("torn") / "r.jsonl"
    for seed in range(2):
        records.append(path, [], settings={"seed": seed}, note="ä" * 3)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    cut = data.draw(st.integers(last + 1, len(whole) - 2))
    path.write_bytes(whole[:cut])
    with pytest.warns(UserWarning, match="line 2 was half written"):
        kept = records.done(path)
    assert [record["settings"]["seed"] for record in kept.values()] == [0]
    with pytest.warns(UserWarning, match="took away a last line"):
        records.append(path, [], settings={"seed": 1}, note="ä" * 3)
    assert path.read_bytes() == whole  # as if nothing had happened


def test_a_last_line_that_lacks_but_its_end_is_kept(tmp_path):
    path = tmp_path / "r.jsonl"
    records.append(path, [], settings={"seed": 0})
    path.write_bytes(path.read_bytes()[:-1])
    assert len(records.done(path)) == 1
    records.append(path, [], settings={"seed": 1})
    assert len(records.done(path)) == 2


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    records.append(path, [], settings={"seed": 0})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        records.append(path, [], settings={"seed": 1})
    assert path.read_bytes() == before


def test_damage_before_the_last_line_is_no_accident_of_ours(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"key": "a"}\n{"key": \n{"key": "b"}\n')
    with pytest.raises(ValueError, match=r"r\.jsonl: expected a record in line 2"):
        records.read(path)
    path.write_text('{"key": "a"}\n{"key": "a"}\n')
    with pytest.raises(ValueError, match="expected every run once, got a twice"):
        records.done(path)


def test_lines_without_a_key_are_records_but_name_no_run(tmp_path):
    path = tmp_path / "r.jsonl"
    records.append(path, OUTCOMES, method="identity")
    assert records.done(path) == {}
    assert len(records.read(path)) == 1


# ---------------------------------------------------------------- processes


def test_no_run_twice_with_several_processes_racing(tmp_path):
    path = tmp_path / "r.jsonl"
    workers, pipe = started(path, "abcd", 40, 0.002)
    ran = [pipe.get(timeout=60) for _ in range(40)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert pipe.empty()
    assert sorted(seed for _, seed in ran) == list(range(40))  # each was begun once
    assert len({name for name, _ in ran}) > 1  # it was a race
    assert len(records.done(path)) == len(records.read(path)) == 40  # and stands once
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]  # no lock is left


def test_the_claim_of_a_killed_process_frees_itself(tmp_path):
    path = tmp_path / "r.jsonl"
    (worker,), pipe = started(path, ["killed"], 3, 60.0)
    assert pipe.get(timeout=60) == ("killed", 0)
    key = records.run_key({"seed": 0})
    with records.claim(path, key) as mine:
        assert not mine
    worker.kill()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert records.done(path) == {}
    others, pipe = started(path, "ab", 3)  # the run that was killed is run again, once
    assert sorted(pipe.get(timeout=60)[1] for _ in range(3)) == [0, 1, 2]
    for other in others:
        other.join(60)
    assert len(records.done(path)) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_lock_that_was_removed_in_between_is_no_claim(tmp_path, monkeypatch):
    """Its last holder removes it after it was opened here, and another makes and locks it anew."""
    path, real, others = tmp_path / "r.jsonl", fcntl.flock, []

    def meanwhile(descriptor, how):
        monkeypatch.undo()
        (lock,) = tmp_path.iterdir()
        lock.unlink()
        others.append(lock.open("w"))
        real(others[0], how)
        real(descriptor, how)

    monkeypatch.setattr(records.fcntl, "flock", meanwhile)
    with records.claim(path, "a") as mine:
        assert not mine
    others[0].close()
    with records.claim(path, "a") as mine:
        assert mine


def appending(path, size):
    while True:
        records.append(path, [], filler="x" * size)


def test_killed_in_the_middle_of_writing(tmp_path):
    """Lines of 4 MB, killed at any moment: what is left is whole lines and at most one torn."""
    path = tmp_path / "r.jsonl"
    whole = 0
    for attempt in range(6):
        child = FORK.Process(target=appending, args=(path, 4_000_000))
        child.start()
        time.sleep(0.05 + 0.007 * attempt)
        child.kill()
        child.join()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torn or not, as it happens
            records.append(path, [], settings={"attempt": attempt})
            found = records.read(path)
        assert len(records.done(path)) == attempt + 1
        assert len(found) >= whole + 1
        whole = len(found)
        assert all(len(r.get("filler", "x" * 4_000_000)) == 4_000_000 for r in found)


def held_by_a_child(path, pipe):
    with records.claim(path, "a") as mine:
        child = os.fork()
        if child == 0:  # a worker that outlives its parent
            time.sleep(60)
            os._exit(0)
        pipe.send((mine, child))
        time.sleep(60)


def test_a_forked_worker_does_not_keep_its_dead_parents_claim(tmp_path):
    path = tmp_path / "r.jsonl"
    here, there = FORK.Pipe()
    parent = FORK.Process(target=held_by_a_child, args=(path, there))
    parent.start()
    mine, child = here.recv()
    try:
        assert mine
        with records.claim(path, "a") as second:
            assert not second
        parent.kill()
        parent.join()
        os.kill(child, 0)  # still there
        with records.claim(path, "a") as after:
            assert after
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_run_that_raised_is_free_again_and_a_done_one_is_not(tmp_path):
    path = tmp_path / "r.jsonl"
    settings = {"seed": 0}
    key = records.run_key(settings)
    with pytest.raises(RuntimeError), records.claim(path, key):
        raise RuntimeError("diverged")
    with records.claim(path, key) as mine, records.claim(path, "other") as other:
        assert mine
        assert other
        records.append(path, OUTCOMES, settings=settings)
    with records.claim(path, key) as mine:
        assert not mine


# ---------------------------------------------------------------- fingerprints


def noise(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folders(tmp_path):
    for place, modality in enumerate(("T1", "T2")):
        (tmp_path / modality).mkdir()
        for scene in range(2):
            image = (255 * noise(10 * place + scene, 40, 50)).numpy().astype(np.uint8)
            np.save(tmp_path / modality / f"s{scene}.npy", image)
    return [tmp_path / "T1", tmp_path / "T2"]


def test_the_fingerprint_is_the_same_in_memory_and_on_disk(folders, monkeypatch):
    inside, outside = (read_scenes(folders, in_memory=kept) for kept in (True, False))
    assert isinstance(inside[0].images["T1"], torch.Tensor)
    assert not isinstance(outside[0].images["T1"], torch.Tensor)
    one = fingerprint(inside)
    assert fingerprint(outside) == one
    monkeypatch.setattr(
        "equicomir.images.fingerprint._BAND", 50 * 7
    )  # several reads an image, not a whole number
    assert fingerprint(outside) == one


@given(st.integers(0, 10**6), st.data())
def test_whatever_changes_in_the_data_changes_the_fingerprint(seed, data):
    images = {"A": noise(seed, 2, 9, 7), "B": noise(seed + 1, 1, 9, 7)}
    mask = noise(seed + 2, 9, 7) > 0.4
    scenes = [Scene("a", images, mask), Scene("b", images, mask)]
    one = fingerprint(scenes)
    place = data.draw(st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 6)))
    pixel = {"A": images["A"].clone(), "B": images["B"]}
    pixel["A"][place] += 1e-3
    flipped = mask.clone()
    flipped[place[1:]] ^= True
    turned = {m: x.transpose(1, 2).contiguous() for m, x in images.items()}
    merged = {"A": images["A"][:1], "B": torch.cat([images["A"][1:], images["B"]])}
    others = [
        [Scene("a", pixel, mask), scenes[1]],
        [Scene("a", images, flipped), scenes[1]],
        [Scene("a", images), scenes[1]],
        [Scene("c", images, mask), scenes[1]],
        [Scene("a", {"A": images["A"], "C": images["B"]}, mask), scenes[1]],
        [Scene("a", {m: x.reshape(-1, 7, 9) for m, x in images.items()}, mask.T), scenes[1]],
        [Scene("a", turned, mask.T), scenes[1]],
        [Scene("a", merged, mask), scenes[1]],
        scenes[::-1],
        scenes[:1],
    ]
    found = [fingerprint(each) for each in others]
    assert len({one, *found}) == len(others) + 1
    assert fingerprint([Scene("a", dict(reversed(images.items())), mask), scenes[1]]) == one
    doubles = [Scene(s.name, {m: x.double() for m, x in images.items()}, mask) for s in scenes]
    assert fingerprint(doubles) == one


def test_the_fingerprint_stays_what_it_is():
    images = {"A": torch.arange(12.0).reshape(1, 3, 4)}
    assert fingerprint([Scene("a", images)]) == (
        "431ebbaac8791725d67849d5329b05c06689971369667dd4d61a9d7afc6e7f34"
    )


# ---------------------------------------------------------------- successes


def test_successes_are_counted_on_all_pairs_of_one_list(tmp_path):
    path = tmp_path / "r.jsonl"
    records.append(path, OUTCOMES, settings={"seed": 0})
    records.append(path, [OUTCOMES[1], Outcome(PAIR, 2.0, 0.3)], settings={"seed": 1})
    runs = records.read(path)
    assert records.successes(runs).tolist() == [[1, 0], [0, 1]]
    assert records.successes(runs, fraction=0.01).tolist() == [[1, 0], [0, 0]]
    records.append(path, [Outcome(PAIR, 2.0, 0.3)], settings={"seed": 2})
    with pytest.raises(ValueError, match="expected the same list of pairs in all, got another in"):
        records.successes(records.read(path))
    with pytest.raises(ValueError, match="runs: expected at least one"):
        records.successes([])


@given(st.lists(st.sampled_from(["a", "b c", "d.e"]), min_size=1, max_size=4))
def test_a_run_is_claimed_in_a_folder_that_is_not_there_yet(names):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).joinpath(*names, "records.jsonl")
        with records.claim(path, "a") as mine, records.claim(path, "b") as another:
            assert mine
            assert another
        assert path.parent.is_dir()
