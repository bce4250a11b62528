"""The names of ``e2cnn.gspaces``: classes, which ``isinstance`` understands, over escnn's space.

escnn describes every symmetry of the plane by one class and the identifier of a subgroup of
O(2); e2cnn had a class for each kind. Here each kind is a subclass again, so that escnn's
modules take it and scripts can ask what it is. The axis of reflections, the order of group
elements and the matrices of every representation are those of e2cnn.
"""

import math
from collections.abc import Callable
from typing import Any

from equicomir.e2cnn.absent import check_element, refuse
from equicomir.e2cnn.engine import escnn
from equicomir.e2cnn.nn.fields import FieldType

GSpace = escnn.gspaces.GSpace

__all__ = ["Flip2dOnR2", "FlipRot2dOnR2", "GSpace", "GeneralOnR2", "Rot2dOnR2", "TrivialOnR2"]


def _order(
    name: str, order: int | None, maximum_frequency: int | None, group: Any, *, rotations: str
) -> tuple[int, int]:
    """(N, frequency to list irreps up to) of a constructor's arguments, checked."""
    if (order is None) == (group is None):
        raise ValueError(
            f"{name}: expected either N or fibergroup, got N={order}, fibergroup={group}."
        )
    if group is not None:
        number = getattr(group, rotations, None)
        order = number() if callable(number) else number
    if not isinstance(order, int) or (order < 2 and order != -1):
        raise ValueError(
            f"{name}: expected N of 2 or more rotations, or -1 for all of them, got {order}; "
            "for none of them use TrivialOnR2 or Flip2dOnR2."
        )
    if order > 0 and maximum_frequency is not None:
        raise ValueError(
            f"{name}: expected no maximum_frequency where N is finite, got N={order} and "
            f"maximum_frequency={maximum_frequency}; leave it out."
        )
    if order == -1 and group is None and maximum_frequency is None:
        raise ValueError(f"{name}: expected maximum_frequency where N is -1, got None; give one.")
    # A finite group has all its irreps at once, whatever the frequency.
    known = getattr(group, "_maximum_frequency", None)
    return order, maximum_frequency or known or 6


def _of_subgroup(subgroup: tuple[float | None, int], group: Any) -> "GeneralOnR2":
    """The space of the right class for an identifier of a subgroup of O(2)."""
    doubled_axis, rotations = subgroup
    if doubled_axis is None:
        return TrivialOnR2() if rotations == 1 else Rot2dOnR2(fibergroup=group)
    axis = (doubled_axis / 2) % (2 * math.pi)
    return Flip2dOnR2(axis) if rotations == 1 else FlipRot2dOnR2(axis=axis, fibergroup=group)


class GeneralOnR2(escnn.gspaces.GSpace2D):  # type: ignore[misc]  # escnn has no types
    """What the four kinds of symmetry of the plane share; never built itself.

    Args:
        subgroup: (twice the axis of reflection in radians or None, number of rotations or -1).
        maximum_frequency: of the irreps listed, for infinitely many rotations.
    """

    def __init__(self, subgroup: tuple[float | None, int], maximum_frequency: int = 6) -> None:
        super().__init__(subgroup, maximum_frequency=max(1, maximum_frequency))
        self._listed_frequency = maximum_frequency

    def restrict(self, id: Any) -> tuple["GeneralOnR2", Callable[..., Any], Callable[..., Any]]:
        """The space of a subgroup, the map into this group, and the map back (None outside).

        Args:
            id: as in e2cnn: a number of rotations, or (reflection or None, rotations).

        Example:
            >>> space, into, back = FlipRot2dOnR2(4).restrict((None, 2))
            >>> isinstance(space, Rot2dOnR2), space.fibergroup.order()
            (True, 2)
        """
        subgroup, into, back = self.fibergroup.subgroup(id)
        plane = escnn.group.o2_group()
        return _of_subgroup(plane._combine_subgroups(self._sg_id, id), subgroup), into, back

    def type(self, *representations: Any) -> Any:
        """The field type of these representations over this space."""
        return FieldType(self, representations)

    def featurefield_action(self, input: Any, repr: Any, element: Any, order: int = 2) -> Any:
        """Transform an array of fields (batch, channels, height, width) by a group element.

        Args:
            input: (batch, channels, height, width).
            repr: of the fields.
            element: of the group.
            order: of the spline that turns the plane.

        Returns:
            The same shape.
        """
        check_element(element)
        channels = escnn.nn.FieldType(self, [repr]).fiber_representation(element).numpy()
        turned = (channels @ input.reshape(len(input), len(channels), -1)).reshape(input.shape)
        return self._interpolate_transform_basespace(turned, element, order=order)

    @property
    def irreps(self) -> dict[str, Any]:
        """The irreps by name, as e2cnn gave them, up to the space's maximum frequency.

        Example:
            >>> list(Rot2dOnR2(4).irreps)
            ['irrep_0', 'irrep_1', 'irrep_2']
        """
        known = {irrep.name: irrep for irrep in self.fibergroup.irreps()}
        if self._sg_id[1] != -1:
            return known
        return {n: i for n, i in known.items() if i.id[-1] <= self._listed_frequency}

    @property
    def representations(self) -> dict[str, Any]:
        """All representations built so far by name, with the irreps of ``irreps``."""
        unlisted = {irrep.name for irrep in self.fibergroup.irreps()} - self.irreps.keys()
        return {n: r for n, r in self.fibergroup.representations.items() if n not in unlisted}


class Rot2dOnR2(GeneralOnR2):
    """The plane under N rotations by 360 / N degrees, or under all of them.

    Args:
        N: 2 or more, or -1 for all rotations.
        maximum_frequency: of the irreps listed; given if and only if N is -1.
        fibergroup: a CyclicGroup or SO2, instead of the other two.

    Raises:
        ValueError: the arguments do not name one group.

    Example:
        >>> space = Rot2dOnR2(N=8)
        >>> isinstance(space, GSpace), isinstance(space, FlipRot2dOnR2), space == Rot2dOnR2(8)
        (True, False, True)
    """

    def __init__(
        self,
        N: int | None = None,  # noqa: N803  # e2cnn's name
        maximum_frequency: int | None = None,
        fibergroup: Any = None,
    ) -> None:
        rotations, frequency = _order(
            "Rot2dOnR2", N, maximum_frequency, fibergroup, rotations="order"
        )
        super().__init__((None, rotations), frequency)


class FlipRot2dOnR2(GeneralOnR2):
    """The plane under N rotations and as many reflections, or under all of them.

    Args:
        N: 2 or more, or -1 for all rotations.
        maximum_frequency: of the irreps listed; given if and only if N is -1.
        axis: of the first reflection, in radians from the horizontal, counter-clockwise.
        fibergroup: a DihedralGroup or O2, instead of the first two.

    Raises:
        ValueError: the arguments do not name one group.

    Example:
        >>> FlipRot2dOnR2(4).regular_repr.size
        8
    """

    def __init__(
        self,
        N: int | None = None,  # noqa: N803  # e2cnn's name
        maximum_frequency: int | None = None,
        axis: float = math.pi / 2,
        fibergroup: Any = None,
    ) -> None:
        rotations, frequency = _order(
            "FlipRot2dOnR2", N, maximum_frequency, fibergroup, rotations="rotation_order"
        )
        self.axis = axis
        super().__init__(((2.0 * axis) % (2 * math.pi), rotations), frequency)


class Flip2dOnR2(GeneralOnR2):
    """The plane under one reflection.

    Args:
        axis: of the reflection, in radians from the horizontal, counter-clockwise.
        fibergroup: a CyclicGroup of order 2; it adds nothing, e2cnn took it.

    Raises:
        ValueError: ``fibergroup`` is of another order.

    Example:
        >>> Flip2dOnR2().fibergroup.order()
        2
    """

    def __init__(self, axis: float = math.pi / 2, fibergroup: Any = None) -> None:
        if fibergroup is not None and fibergroup.order() != 2:
            raise ValueError(
                f"Flip2dOnR2: expected a fibergroup of order 2, got {fibergroup}; leave it out."
            )
        self.axis = axis
        super().__init__(((2.0 * axis) % (2 * math.pi), 1), 1)


class TrivialOnR2(GeneralOnR2):
    """The plane without symmetry: ordinary convolutions.

    Args:
        fibergroup: a CyclicGroup of order 1; it adds nothing, e2cnn took it.

    Raises:
        ValueError: ``fibergroup`` is of another order.

    Example:
        >>> TrivialOnR2().fibergroup.order()
        1
    """

    def __init__(self, fibergroup: Any = None) -> None:
        if fibergroup is not None and fibergroup.order() != 1:
            raise ValueError(
                f"TrivialOnR2: expected a fibergroup of order 1, got {fibergroup}; leave it out."
            )
        super().__init__((None, 1), 1)


def __getattr__(name: str) -> Any:
    raise refuse("e2cnn.gspaces", name)
