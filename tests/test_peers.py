"""The benchmark of peers: it runs, goes on where it was, and its table says what records say."""

import doctest
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_records import pairs_of, script

from equicomir.evaluation import records
from equicomir.evaluation.alignment import Outcome, summarise

ROOT = Path(__file__).parent.parent
NAMES = ("methods", "originals", "list", "sets", "cell", "table")
modules = {name: script("benchmarks", f"peer_{name}") for name in NAMES}
peers = script("benchmarks", "peers")
cell, table, peer_list, peer_sets = (modules[name] for name in ("cell", "table", "list", "sets"))


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """The command line over a folder of its own, with its work in this process."""
    monkeypatch.setattr(peers, "in_a_process_of_its_own", lambda act, one: act(one) or 0)
    for name in cell.THREADS:
        monkeypatch.setenv(name, "1")  # and put back as it was

    def run(*arguments, quick=True):
        told = ["--records", tmp_path / "records", "--models", tmp_path / "models", *arguments]
        peers.main([*(["--quick"] if quick else []), *map(str, told)])
        return records.read(tmp_path / "records" / "phantoms.jsonl")

    return run


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name):
    assert doctest.testmod(modules[name]).failed == 0


def test_a_quick_run_goes_the_whole_way_and_is_not_made_twice(quick, tmp_path, monkeypatch, capsys):
    gone = replace(peer_list.BY_NAME["ants"], module="no_such_module")
    monkeypatch.setitem(peer_list.BY_NAME, "ants", gone)
    asked = ("--methods", "identity", "sift", "ants", "steerable", "--levels", "1", "any")
    first = quick(*asked)
    measured = [(r["settings"]["method"], r["settings"]["level"]) for r in first if r["pairs"]]
    assert measured == [
        (method, level) for method in ("identity", "sift", "steerable") for level in ("1", "any")
    ]
    assert [r["method"] for r in first if "missing" in r] == ["ants"]
    assert all(r["peak_mib"] > 0 and r["core_seconds"] >= 0 for r in first if r["pairs"])
    assert str(tmp_path) not in (tmp_path / "records" / "phantoms.jsonl").read_text()
    printed = capsys.readouterr().out
    assert 'not installed (pip install "equicomir[peers]")' in printed
    assert (tmp_path / "models" / "phantoms" / "steerable" / "weights.safetensors").exists()

    # Of a run that was broken off, what stands is kept, and the rest is made.
    path = tmp_path / "records" / "phantoms.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    again = quick(*asked)
    assert [r.get("key") for r in again] == [r.get("key") for r in first]
    assert path.read_bytes().splitlines(keepends=True)[:-1] == lines[:-1]

    page = tmp_path / "page.md"
    quick("--table-only", "--page", page)
    assert page.read_text() == table.page(tmp_path / "records")


def test_a_method_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    path = tmp_path / "records" / "phantoms.jsonl"
    one = cell.Cell("identity", "phantoms", 48, ("1",), 1, path, tmp_path, 1.0, quick=True)
    assert peers.in_a_process_of_its_own(cell.measure, one) == 0
    (record,) = records.read(path)
    assert [pair["fixed"] for pair in record["pairs"]] == ["brightfield", "fluorescence"]


def test_one_that_raises_at_an_easy_pair_is_missing_and_has_not_failed(quick, monkeypatch):
    def raises(*images, **masks):
        raise RuntimeError("no adapter in /some/folder/lib.so")

    broken = replace(peer_list.BY_NAME["sift"], register=raises)
    monkeypatch.setitem(peer_list.BY_NAME, "sift", broken)
    (_, line) = quick("--methods", "identity", "sift", "--levels", "1")
    assert line["missing"] == "does not run here (RuntimeError: no adapter in lib.so)"
    assert line["pairs"] == []


def test_the_examples_of_a_wheel_are_what_they_are_said_to_be():
    pytest.importorskip("zcmir", reason="zcmir, whose wheel carries the pairs, is not installed")
    one = peer_sets.read("zcmir_examples", None)
    pairs = [p for w in one.data_set.widths for p in peer_sets.patches(one, w, "4", 10)]
    assert sorted(pair.width for pair, _ in pairs) == [300, 300, 300, 834]
    for pair, (fixed, moving, mask) in pairs:
        assert 15 <= abs(pair.rotation_degrees) <= 20  # level 4 of Lu et al.
        assert fixed.shape == moving.shape == (1, pair.width, pair.width)
        assert mask.shape == fixed.shape[1:]


# ------------------------------------------------------------------------------------ the table


def made_up(folder, method, level, *, chance=0.5, count=10, seconds=1.0, seed=0, width=64):
    """A record whose errors are drawn; some of those beyond the chance gave nothing at all."""
    rng, outcomes = np.random.default_rng(seed), []
    for pair in pairs_of(("T1", "T2"), width, count, (level,)):
        near, lost = rng.random() < chance, rng.random() < 0.5
        error = round(rng.uniform(0.1, 1.2) if near else rng.uniform(2, 50), 4)
        gone = lost and not near
        outcomes.append(Outcome(pair, np.inf if gone else error, seconds, "lost" if gone else ""))
    settings = {"method": method, "width": width, "level": level, "pairs": count, "threads": 1}
    records.append(
        folder / "brain_mri.jsonl",
        outcomes,
        settings={**settings, "modalities": ["T1", "T2"], "seed": seed},
        core_seconds=2 * seconds,
        peak_mib=300 + seed,
        set_up={"packages": ["made-up 1.0"], "distributions": 3, "mib": 42},
        trained=None,
    )
    return outcomes


def row(text, method, after):
    """The cells of a method in the table behind a heading."""
    behind = text[text.index(after) :]
    line = next(x for x in behind.splitlines() if x.startswith(f"| `{method}` |"))
    return [value.strip() for value in line.strip("|").split("|")][1:]


def test_the_table_says_what_the_records_say(tmp_path):
    few = made_up(tmp_path, "sift", "any", count=2, seed=1)
    sift = made_up(tmp_path, "sift", "any", seconds=3.0, seed=2)
    made_up(tmp_path, "sift", "any", count=3, seed=3)
    ours = made_up(tmp_path, "steerable", "any", chance=1.0, seconds=1.5)
    one = made_up(tmp_path, "sift", "1", seconds=3.0, seed=4)
    lacks = {"method": "ants", "set": "brain_mri", "width": 64, "missing": "not installed (x)"}
    records.append(tmp_path / "brain_mri.jsonl", [], **lacks)
    text = table.page(tmp_path)
    s, whole = summarise(sift), summarise([*one, *sift])
    rate = f"{100 * s.success:.0f} ({100 * s.low:.0f} to {100 * s.high:.0f})"
    assert len(few) < len(sift) < len([*one, *sift])
    assert row(text, "sift", "## All at a glance") == [rate]
    assert "Not measured yet: `motor_neurons`, " in text
    glance = text[text.index("## All at a glance") : text.index("## Reach")]
    assert "| `sift` |" in glance
    assert "| `ants` |" not in glance
    assert row(text, "ants", "## Set-up")[1] == "not installed (x)"
    assert row(text, "sift", "## Set-up")[1:4] == ["made-up 1.0", "3", "42"]
    cells = row(text, "sift", "## brain_mri, 64 px")
    assert cells[1:] == [rate, "40", f"{whole.median_error:.2f}", "3.00", "2", "6.00", "304"]
    assert row(text, "steerable", "## brain_mri, 64 px")[0] == ""  # level 1 was not asked
    assert row(text, "steerable", "## brain_mri, 64 px")[1].startswith(
        f"{100 * summarise(ours).success:.0f} ("
    )
    of_width = text[text.index("## brain_mri, 64 px") :]
    assert "`ants` (not installed (x))" in of_width
    assert "`cmif`, " in of_width[: of_width.index("(not run)")]
    assert "| `cmif` |" not in of_width
    assert "a success is within 1.28 px" in text


def test_reach_is_the_smallest_width_at_which_nearly_all_pairs_are_registered(tmp_path):
    for width, chances in {256: (1.0, 0.5), 128: (1.0, 0.5), 64: (0.5, 0.0)}.items():
        for method, chance in zip(("steerable", "plain"), chances, strict=True):
            made_up(tmp_path, method, "any", chance=chance, width=width)
    made_up(tmp_path, "plain", "1", chance=1.0, width=64)  # another level does not count
    text = table.page(tmp_path)
    assert row(text, "steerable", "## Reach") == ["128"]
    assert row(text, "plain", "## Reach") == ["above 256"]
    reach = text[text.index("## Reach") : text.index("## Set-up")]
    assert "| `sift` |" not in reach
    assert "90 % of" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sets", "brain_mri"], "--data: expected the folder of the data sets for brain_mri"),
        (["--pairs", "0"], "expected positive numbers"),
        (["--globalign", "/nowhere"], "--globalign: expected a folder"),
        (["--table-only"], "expected records in"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, message, quick, capsys):
    with pytest.raises((SystemExit, ValueError)) as mistake:
        quick(*arguments, quick=False)
    said = capsys.readouterr().err + str(mistake.value)  # the script ends with the sentence alone
    assert message in said


def test_a_model_of_other_minutes_is_not_taken_for_one_of_these(tmp_path):
    folder = tmp_path / "phantoms" / "steerable"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"training": {"minutes": 5.0}}')
    asked = cell.Cell("steerable", "phantoms", 48, ("1",), 1, tmp_path / "r", tmp_path, 1.0)
    with pytest.raises(ValueError, match="expected 5, as the model"):
        cell.stands(asked)
    assert cell.stands(replace(asked, minutes=5.0))


def test_what_started_processes_take_is_counted():
    before = cell.usage()
    code = "x = bytearray(2 ** 26); print(len(x), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        grown = cell.usage()
        child.communicate("\n")
    assert grown[0] - before[0] > 60
