"""The pairs of a record, told once: much of what is said of them is the same for every pair.

A run has fifty to two hundred pairs, each with its place and displacement, and hundreds of runs are
published. Written by columns, with what all pairs share written once, a record takes a third.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_MOST = 10_000  # pairs that a record can say are all the same: its line would not grow with them

#: What a record holds of one pair: names and JSON values that are no lists.
Line = dict[str, Any]


def columns(pairs: Sequence[Line]) -> dict[str, Any]:
    """Pairs by name of what is said of them: a list, or one value where all have the same.

    Args:
        pairs: all with the same names.

    Returns:
        A column a name, and how many pairs there are, as ``count``.

    Example:
        >>> columns([{"width": 64, "error": 0.5}, {"width": 64, "error": None}])
        {'count': 2, 'width': 64, 'error': [0.5, None]}
    """
    found: dict[str, Any] = {"count": len(pairs)}
    for name in pairs[0] if pairs else ():
        values = [pair[name] for pair in pairs]
        # 0 and False, or 5 and 5.0, are equal and not the same.
        same = all(type(v) is type(values[0]) and v == values[0] for v in values)
        found[name] = values[0] if same else values
    return found


def lines(of: Mapping[str, Any]) -> list[Line]:
    """The pairs again.

    Raises:
        ValueError: a column is longer or shorter than another, or nothing says how many there are.

    Example:
        >>> pairs = [{"width": 64, "error": 0.5}, {"width": 64, "error": None}]
        >>> lines(columns(pairs)) == pairs
        True
    """
    count, named = of.get("count"), {name: value for name, value in of.items() if name != "count"}
    if type(count) is not int or count < 0:
        raise ValueError(f"count: expected how many pairs there are, got {count!r}; restore it.")
    for name, value in named.items():
        if isinstance(value, list) and len(value) != count:
            raise ValueError(f"{name}: expected {count} values, got {len(value)}; restore them.")
    if count > _MOST and not any(isinstance(value, list) for value in named.values()):
        raise ValueError(f"count: expected at most {_MOST} pairs that are alike, got {count}.")
    return [
        {name: value[n] if isinstance(value, list) else value for name, value in named.items()}
        for n in range(count)
    ]
