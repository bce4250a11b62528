"""The names of ``e2cnn.group``: groups and their representations, which are escnn's own.

Elements, irreps, the regular representation and its order of elements are the same in both
libraries (compared entry by entry for C_N, D_N, SO(2) and O(2)); only the elements themselves
are objects here, not numbers: ``group.element(1)`` is what e2cnn wrote as ``1``.
"""

from typing import Any

from equicomir.e2cnn.absent import refuse
from equicomir.e2cnn.engine import escnn

Group = escnn.group.Group
CyclicGroup = escnn.group.CyclicGroup
DihedralGroup = escnn.group.DihedralGroup
SO2 = escnn.group.SO2
O2 = escnn.group.O2
Representation = escnn.group.Representation
IrreducibleRepresentation = escnn.group.IrreducibleRepresentation
trivial_group = escnn.group.trivial_group
cyclic_group = escnn.group.cyclic_group
dihedral_group = escnn.group.dihedral_group
directsum = escnn.group.directsum
disentangle = escnn.group.disentangle
change_basis = escnn.group.change_basis
psi = escnn.group.psi
chi = escnn.group.chi
psichi = escnn.group.psichi

__all__ = [
    "O2",
    "SO2",
    "CyclicGroup",
    "DihedralGroup",
    "Group",
    "IrreducibleRepresentation",
    "Representation",
    "change_basis",
    "chi",
    "cyclic_group",
    "dihedral_group",
    "directsum",
    "disentangle",
    "o2_group",
    "psi",
    "psichi",
    "so2_group",
    "trivial_group",
]


def so2_group(maximum_frequency: int = 10) -> Any:
    """The group of all rotations of the plane, with e2cnn's default number of irreps.

    Args:
        maximum_frequency: highest frequency of the irreps built at once; more come on demand.
    """
    return escnn.group.so2_group(maximum_frequency)


def o2_group(maximum_frequency: int = 10) -> Any:
    """The group of all rotations and reflections, with e2cnn's default number of irreps.

    Args:
        maximum_frequency: highest frequency of the irreps built at once; more come on demand.
    """
    return escnn.group.o2_group(maximum_frequency)


def __getattr__(name: str) -> Any:
    raise refuse("e2cnn.group", name)
