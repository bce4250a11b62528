"""Every public function and class says what it takes, gives back and refuses: the rule of
CONTRIBUTING.md, as ``benchmarks/docstring_coverage.py`` applies it."""

import ast
import inspect

import pytest
from made_up_records import script

coverage = script("benchmarks", "docstring_coverage")

WHOLE = '''
def f(a: int, b: int, *, c: int) -> int:
    """The sum.

    Args:
        a: one.
        b: other.
        c: third.

    Returns:
        It.

    Raises:
        ValueError: one is negative.

    Example:
        >>> f(1, 2, c=3)
        6
    """
    if min(a, b, c) < 0:
        raise ValueError("a, b, c: expected none below 0.")
    return a + b + c
'''


def lacking(source, room="filters"):
    (node,) = ast.parse(source).body
    return coverage.lacking(coverage.Public(room, "f", node, False))


def test_nothing_is_missing():
    missing = [f"{of.name}: {', '.join(wrong)}" for of, wrong in coverage.everything() if wrong]
    assert not missing


def test_what_is_public_is_looked_at():
    found = {of.name for of, _ in coverage.everything()}
    assert len(found) > 500
    for name in ("filters.gaussian_high_pass", "encoders.encoder.Encoder.forward"):
        assert name in found
    assert "evaluation.records._json" not in found


@pytest.mark.parametrize(
    ("left_out", "entry"),
    [
        ("        b: other.\n", "Args"),
        ("        c: third.\n", "Args"),
        ("    Returns:\n        It.\n", "Returns"),
        ("    Raises:\n        ValueError: one is negative.\n", "Raises"),
        ("    Example:\n        >>> f(1, 2, c=3)\n        6\n", "Example or Source"),
    ],
)
def test_what_is_left_out_is_found(left_out, entry):
    assert lacking(WHOLE) == []
    assert left_out in WHOLE
    assert lacking(WHOLE.replace(left_out, "")) == [entry]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a, b): return a", ["docstring"]),
        ('def f(a) -> int: "Itself."; return a', []),
        ('def f(a, b) -> int: "Their sum."; return a + b', []),
        ('def f(a, b, c) -> int: "Their sum."; return a + b + c', ["Args", "Returns"]),
        ('def f(a, b, c) -> int: "As :func:`g`."; return a + b + c', []),
        ('@dataclass\nclass A:\n    "A."\n    b: int\n    c: int', ["Args"]),
        ('@dataclass\nclass A:\n    """A.\n\nAttributes:\n  b, c: it."""\n    b: int; c: int', []),
    ],
)
def test_the_rule_on_small_cases(source, expected):
    assert lacking(source, "shapes") == expected


def test_the_table_is_printed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["docstring_coverage", "--missing"])
    coverage.main()
    printed = capsys.readouterr().out
    assert "registration" in printed
    assert inspect.getdoc(coverage).splitlines()[0].startswith("Which public functions")
