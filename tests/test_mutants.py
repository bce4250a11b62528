"""The harness that plants faults: it finds the tests that matter, and believes none that passes."""

import ast
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import changes, table, tried
from mutants.faults import FAULTS

GEOMETRY = "equicomir/geometry.py"
SOURCE = """\
def f(x):
    '''A text.'''
    if x > 0:
        return g(
            x,
            1,
        )
    return -x
"""


def test_every_known_fault_is_a_program_and_another_one():
    planted = changes.known()
    assert len(planted) == len(FAULTS) == len({fault.name for fault in FAULTS})
    for change in planted:
        assert ast.parse(change.source)
        assert change.before != change.after
    assert len({change.settings["sha256"] for change in planted}) == len(planted)


@pytest.mark.parametrize("old", ["no such text", "def "])
def test_a_fault_that_does_not_stand_once_is_named(monkeypatch, old):
    monkeypatch.setattr(changes, "FAULTS", [replace(FAULTS[0], old=old)])
    with pytest.raises(ValueError, match=r"'sign of an angle': expected .* once in geometry.py"):
        changes.known()


def test_a_change_is_known_by_its_function_alone():
    first, second = changes.known()[:2]
    assert first.file == second.file == GEOMETRY
    elsewhere = replace(first, source=first.source.replace('"""The rotation about', '"""A turn'))
    assert elsewhere.source != first.source
    assert elsewhere.settings["sha256"] == first.settings["sha256"]  # a docstring, no more
    assert second.settings["sha256"] != first.settings["sha256"]


@pytest.mark.parametrize(("line", "lines"), [(1, [1]), (3, [3]), (5, [4, 5, 6, 7]), (8, [8])])
def test_a_line_stands_for_its_statement(line, lines):
    assert list(tried.lines_of(SOURCE, line)) == lines


@given(st.lists(st.floats(0.01, 9), min_size=1, max_size=9), st.floats(0.1, 20))
def test_the_fastest_tests_that_reach_a_line_come_first(seconds, most):
    tests = [[f"test_{place}", spent, True] for place, spent in enumerate(seconds)]
    change = changes.known()[0]
    reach = {"tests": tests, "lines": {GEOMETRY: {str(change.line): list(range(len(tests)))}}}
    found = tried.tests_of(reach, change)
    assert sorted(found) == list(range(len(tests)))
    assert [seconds[place] for place in found] == sorted(seconds)
    named = [(tests[place][0], seconds[place]) for place in found]
    kept = tried.within(named, most)
    assert kept == [name for name, _ in named[: len(kept)]]
    assert len(kept) == 1 or sum(dict(named)[name] for name in kept) <= most + 1e-9
    assert tried.within([], most) == []
    elsewhere = reach | {"lines": {GEOMETRY: {"1": [0]}, "equicomir/filters.py": {"1": [0]}}}
    assert tried.tests_of(elsewhere, change) == [0]  # of a constant: what reads its file


@pytest.fixture
def tree(tmp_path):
    """A repository with one file of the package and two tests, one of which sees a fault in it."""
    (tmp_path / "equicomir").mkdir()
    (tmp_path / GEOMETRY).write_text((changes.ROOT / GEOMETRY).read_text())
    (tmp_path / "test_it.py").write_text(
        f"def test_sees():\n    assert '[[cos, -sin]' in open('{GEOMETRY}').read()\n\n"
        f"def test_blind():\n    assert '(height - 1) / 2' in open('{GEOMETRY}').read()\n\n"
        "def test_endless():\n    import time\n    time.sleep(60)\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("properties", "others", "by"),
    [
        ("sees", "blind", {"killed_by_properties": "test_it.py::test_sees"}),
        (
            *("blind", "sees"),
            {"killed_by_properties": None, "killed_by_others": "test_it.py::test_sees"},
        ),
        ("blind", "blind", {"killed_by_properties": None, "killed_by_others": None}),
    ],
)
def test_what_kills_a_fault_is_found_and_the_file_is_as_it_was(tree, properties, others, by):
    change = changes.known()[0]
    before, written = (tree / GEOMETRY).read_text(), (tree / GEOMETRY).stat().st_mtime_ns
    tests = [[f"test_it.py::test_{properties}", 0.1, True]]
    tests += [[f"test_it.py::test_{others}", 0.1, False]]
    reach = {"tests": tests, "lines": {GEOMETRY: {str(change.line): [0, 1]}}}
    result = tried.tried(change, tree, reach, most_seconds=1.0)
    assert {name: value for name, value in result.items() if name.startswith("killed")} == by
    assert (tree / GEOMETRY).read_text() == before
    assert (tree / GEOMETRY).stat().st_mtime_ns == written


def test_what_does_not_end_or_cannot_be_read_is_caught(tree):
    assert tried.failing(tree, ["test_it.py::test_endless"], 2.0) == "it does not end"
    assert tried.failing(tree, ["test_it.py::test_gone"], 60.0) == "its tests cannot be collected"
    (tree / "test_it.py").write_text("import nothing_of_this_name\n")
    assert tried.failing(tree, ["test_it.py"], 60.0) == "test_it.py"
    assert tried.failing(tree, [], 60.0)


def result(place, by_properties, by_others, known=False):
    change = changes.known()[place]
    return {
        "settings": change.settings | {"known": known, "room": "geometry"},
        "killed_by_properties": by_properties,
        "killed_by_others": by_others,
    }


def test_the_page_counts_what_was_killed_of_what_can_be(monkeypatch):
    lines = [
        result(0, "test_a", None),
        result(1, None, "test_b"),
        result(2, None, None),
        result(3, None, None),
        result(4, "test_c", None, known=True),
    ]
    of = lines[3]["settings"]
    alike = {"equivalent": True, "reason": "both are zero there"}
    names = (of["file"], of["before"], of["after"])
    monkeypatch.setattr(table, "reasons", lambda: {names: alike})
    said = table.page(lines, seed=7)
    assert "| **all** | 4 | 1 | 2 (67 %) | 1 (33 %) |" in said
    assert "4 faults are Cosmic Ray's, drawn with seed 7; 1 are known" in " ".join(said.split())
    assert "equivalent: both are zero there" in said
    assert said.count("**not explained**") == 1
    assert (
        f"| {lines[4]['settings']['name']} | `{lines[4]['settings']['file']}` | `test_c` |" in said
    )


def test_reasons_are_of_texts_that_could_be_changed():
    for file, before, after in table.reasons():
        assert before in (changes.ROOT / file).read_text()
        assert after != before


@pytest.mark.parametrize("room", ["geometry", "filters"])
def test_mutants_are_drawn_by_their_seed(room):
    drawn = pytest.importorskip("mutants.drawn", reason="Cosmic Ray comes with `make mutants`")
    first, again, other = (drawn.drawn(60, seed, [room]) for seed in (0, 0, 1))
    assert [change.settings for change in first] == [change.settings for change in again]
    assert first != other
    assert {change.room for change in first} == {room}
    for change in first:
        assert drawn.differs((changes.ROOT / change.file).read_text(), change.source)
        assert "raise" not in change.before


@pytest.mark.parametrize(
    ("after", "differs"),
    [
        ("def f(a, *, b):\n    return a\n", False),
        ("def f(a, *, b):\n    return a  # a comment\n", False),
        ("def f(a, *, b):\n    return\n a\n", False),  # no Python
        ("def f(a, /, b):\n    return a\n", False),  # takes more, and does the same
        ("def f(a, *, b):\n    return b\n", True),
    ],
)
def test_what_is_another_program_is_known(after, differs):
    drawn = pytest.importorskip("mutants.drawn", reason="Cosmic Ray comes with `make mutants`")
    assert drawn.differs("def f(a, *, b):\n    return a\n", after) == differs
