"""Which pairs of a list are independent: the units over which an interval is taken.

A unit is a scene (patient, core, field) where there are enough of them. With fewer, a scene is
divided, and the result says so: "within this field", "within this patient".
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

from equicomir.evaluation.displacements import TestPair

#: From a list of pairs to the unit of each.
Units = Callable[[Sequence[TestPair]], list[str]]

#: Side of a block, in widths: a patch, turned by any angle and moved as far as any, has its
#: context within it if the patch lies in its middle.
BLOCK = Fraction(8, 5)
#: Neighbouring slices that are one unit.
RUN = 5


def scenes(pairs: Sequence[TestPair]) -> list[str]:
    """Each scene is a unit.

    Example:
        >>> pair = TestPair("any", "A", "B", "core", 0, 0, 64, 10.0, 0.0, 0.0)
        >>> scenes([pair])
        ['core']
    """
    return [pair.scene for pair in pairs]


def blocks(pairs: Sequence[TestPair]) -> list[str]:
    """Square blocks of a large scene: a pair belongs to the one that its patch's middle is in.

    Blocks are disjoint, and what is seen around their pairs is not: patches lie anywhere, so that
    two of neighbouring blocks may be of nearly one place. ``benchmarks/statistics_level.py``
    simulates that at the places of the committed lists: verdicts err in less than 5 % where pairs
    are alike by the context they share, and in 10 % if places up to 2.5 widths apart were alike.

    Example:
        >>> near = TestPair("any", "A", "B", "field", 0, 0, 64, 10.0, 0.0, 0.0)
        >>> far = TestPair("any", "A", "B", "field", 200, 0, 64, 10.0, 0.0, 0.0)
        >>> blocks([near, far])
        ['field 0 0', 'field 2 0']
    """
    found = []
    for pair in pairs:
        # In half pixels and fractions: no rounding decides of a middle on an edge.
        side, ends = 2 * BLOCK * pair.width, pair.width - 1
        row, column = ((2 * at + ends) // side for at in (pair.row, pair.column))
        found.append(f"{pair.scene} {row} {column}")
    return found


def runs(pairs: Sequence[TestPair]) -> list[str]:
    """Runs of :data:`RUN` neighbouring slices of a volume, in the order of their names.

    Example:
        >>> slices = [TestPair("any", "A", "B", f"z{n}", 0, 0, 64, 1.0, 0.0, 0.0) for n in range(7)]
        >>> runs(slices)
        ['run 0', 'run 0', 'run 0', 'run 0', 'run 0', 'run 1', 'run 1']
    """
    order = {name: at for at, name in enumerate(sorted({pair.scene for pair in pairs}))}
    return [f"run {order[pair.scene] // RUN}" for pair in pairs]
