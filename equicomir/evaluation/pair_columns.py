"""The pairs of a record, told once: much of what is said of them is the same for every pair.

A run has fifty to two hundred pairs, each with its place and displacement, and hundreds of runs are
published. Written by columns, with what all pairs share written once, and names in whichever form
is shortest, a record takes a quarter. What the gate said, a line a claim, is written likewise.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from os.path import commonprefix
from typing import Any, TypeGuard, TypeVar

_MOST = 10_000  # pairs that a record can say are all the same: its line would not grow with them

_DIGITS = 10  # different texts of a column that a digit tells apart
_LONGEST = 99  # characters that texts begin with: what is read grows with what is written

_T = TypeVar("_T")

#: What a record holds of one pair: names and JSON values that are neither lists nor mappings.
Line = dict[str, Any]


def columns(pairs: Sequence[Line]) -> dict[str, Any]:
    """Pairs by name of what is said of them: a list, or one value where all have the same.

    Args:
        pairs: all with the same names.

    Returns:
        A column a name, and how many pairs there are, as ``count``. A column of texts is the
        shortest of a list; different ``texts``, and ``which`` of them each pair has; ``texts`` one
        after the other, and of how many pairs each is, as ``runs``; and what all ``begin`` with,
        and the ``rest`` of each.

    Example:
        >>> columns([{"width": 64, "error": 0.5}, {"width": 64, "error": None}])
        {'count': 2, 'width': 64, 'error': [0.5, None]}
        >>> columns([{"fixed": "T1"}] * 25 + [{"fixed": "T2"}] * 25)["fixed"]
        {'texts': ['T1', 'T2'], 'runs': [25, 25]}
        >>> columns([{"scene": f"slice{n}"} for n in range(20, 31)])["scene"]["begin"]
        'slice'
    """
    found: dict[str, Any] = {"count": len(pairs)}
    for name in pairs[0] if pairs else ():
        values = [pair[name] for pair in pairs]
        # 0 and False, or 5 and 5.0, are equal and not the same.
        same = all(type(v) is type(values[0]) and v == values[0] for v in values)
        found[name] = values[0] if same else _of_texts(values)
    return found


def _of_texts(values: list[Any]) -> Any:
    if not all(type(v) is str for v in values):
        return values
    texts, begin = list(dict.fromkeys(values)), commonprefix(values)[:_LONGEST]  # noqa: RUF071
    forms: list[Any] = [values, {"begin": begin, "rest": [v[len(begin) :] for v in values]}]
    if len(texts) <= _DIGITS:
        which = "".join(str(texts.index(v)) for v in values)
        forms.append({"texts": texts, "which": which})
    if len(values) <= _MOST:
        runs = [(text, len(list(same))) for text, same in groupby(values)]
        forms.append({"texts": [text for text, _ in runs], "runs": [n for _, n in runs]})
    return min(forms, key=lambda form: len(json.dumps(form)))


def lines(of: Mapping[str, Any]) -> list[Line]:
    """The pairs again.

    Raises:
        ValueError: a column is longer or shorter than another, names a text that is not there, or
            nothing says how many there are.

    Example:
        >>> pairs = [{"width": 64, "error": 0.5}, {"width": 64, "error": None}]
        >>> lines(columns(pairs)) == pairs
        True
    """
    count, named = of.get("count"), {name: value for name, value in of.items() if name != "count"}
    if type(count) is not int or count < 0:
        raise ValueError(f"count: expected how many pairs there are, got {count!r}; restore it.")
    named = {name: _texts(name, v) if isinstance(v, dict) else v for name, v in named.items()}
    for name, value in named.items():
        if isinstance(value, list) and len(value) != count:
            raise ValueError(f"{name}: expected {count} values, got {len(value)}; restore them.")
    if count > _MOST and not any(isinstance(value, list) for value in named.values()):
        raise ValueError(f"count: expected at most {_MOST} pairs that are alike, got {count}.")
    return [
        {name: value[n] if isinstance(value, list) else value for name, value in named.items()}
        for n in range(count)
    ]


def _texts(name: str, of: Mapping[str, Any]) -> list[str]:
    """The texts of a column, in whichever form; what is read is bounded by what is written."""
    begin, rest, texts = of.get("begin"), of.get("rest"), of.get("texts")
    which, runs = of.get("which"), of.get("runs")
    if isinstance(begin, str) and len(begin) <= _LONGEST and _are(rest, str):
        return [begin + v for v in rest]
    if _are(texts, str) and isinstance(which, str) and which.isascii() and which.isdigit():
        at = [int(digit) for digit in which]
        if max(at) < len(texts):
            return [texts[n] for n in at]
    if _are(texts, str) and _are(runs, int) and len(texts) == len(runs):  # noqa: SIM102
        if all(n > 0 for n in runs) and sum(runs) <= _MOST:
            return [text for text, n in zip(texts, runs, strict=True) for _ in range(n)]
    raise ValueError(f"{name}: expected texts and which of them each pair has; restore them.")


def _are(values: Any, kind: type[_T]) -> TypeGuard[list[_T]]:
    return isinstance(values, list) and all(type(v) is kind for v in values)
