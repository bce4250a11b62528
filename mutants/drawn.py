"""Mutants, drawn by a seed.

Cosmic Ray makes every mutant: a sum for a difference, a number one off, a condition turned round, a
loop left out. Annotations, decorators and what an error says are not changed.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from mutants.changes import ROOMS, Change, change_of, files_of

LEAST = 12  # of a room
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow")
BITS = ("BitOr", "BitAnd", "BitXor")
ORDER = ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE")
KINDS = (
    *(f"ReplaceBinaryOperator_{a}_{b}" for a in ARITHMETIC for b in ARITHMETIC if a != b),
    *(f"ReplaceBinaryOperator_{a}_{b}" for a in BITS for b in BITS if a != b),
    *(f"ReplaceComparisonOperator_{a}_{b}" for a in ORDER for b in ORDER if a != b),
    *("ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is"),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Invert"),
    *("ReplaceUnaryOperator_Delete_Not", "AddNot", "NumberReplacer", "ZeroIterationForLoop"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer"),
)


def spared(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where nothing is changed: annotations, decorators, and what is raised."""
    found: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(source)):
        found += getattr(node, "decorator_list", [])
        found += [getattr(node, name, None) for name in ("annotation", "returns")]
        found += [node] if isinstance(node, ast.Raise) else []
    return [
        ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))  # type: ignore[attr-defined]
        for node in found
        if node is not None
    ]


@cache
def places(source: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Every place that could be changed: by (line, column), the operators and their occurrences."""
    nodes, never = list(ast_nodes(get_ast(source))), spared(source)
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for kind in KINDS:
        operator = get_operator(f"core/{kind}")()
        at = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(at):
            if not any(first <= start < last for first, last in never):
                found.setdefault(start, []).append((kind, occurrence))
    return found


def drawn(count: int, seed: int, rooms: Sequence[str] = tuple(ROOMS)) -> list[Change]:
    """Mutants of all rooms, from each in proportion to its places and at least a few.

    Places come in the order of a hash of the seed and their lines, so that what is changed
    elsewhere in the package changes the draw by a few.

    Args:
        count: of all rooms together; of fewer rooms their share of it.
        seed: of the draw.
        rooms: those that are wanted of them.
    """
    every = {room: [place for path in files_of(room) for place in _of_file(path)] for room in ROOMS}
    total = sum(map(len, every.values()))
    found: list[Change] = []
    for room in rooms:
        share = max(LEAST, round(count * len(every[room]) / total))
        ordered = sorted(every[room], key=lambda place: _hash(f"{seed} {place[0]}"))
        left, wanted = ordered[::-1], len(found) + share
        while left and len(found) < wanted:
            name, path, choices = left.pop()
            kind, occurrence = Random(f"{seed} {name}").choice(choices)
            source = mutate_code(path.read_text(), get_operator(f"core/{kind}")(), occurrence)
            if differs(path.read_text(), source):
                found.append(change_of(kind, room, path, source, known=False))
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _of_file(path: Path) -> list[tuple[str, Path, list[tuple[str, int]]]]:
    """Every place of a file: its name (file, line as it reads, column), path, and choices."""
    lines, seen, found = path.read_text().splitlines(), Counter[str](), []
    for (line, column), choices in sorted(places(path.read_text()).items()):
        text = f"{path.name} {lines[line - 1]} {column}"
        seen[text] += 1
        found.append((f"{text} {seen[text]}", path, choices))
    return found


def differs(before: str, after: str) -> bool:
    """Whether a changed source is Python, and another program that is called in the same way.

    The star before named arguments is no product, as Cosmic Ray takes it to be.
    """
    try:
        trees = ast.parse(before), ast.parse(after)
    except SyntaxError:
        return False
    one, other = (
        [len(node.kwonlyargs) for node in ast.walk(tree) if isinstance(node, ast.arguments)]
        for tree in trees
    )
    return one == other and ast.dump(trees[0]) != ast.dump(trees[1])
