"""Types and containers of ``e2cnn.nn`` that need more than escnn's name: FieldType, ModuleList."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from equicomir.e2cnn.absent import check_element
from equicomir.e2cnn.engine import escnn

EquivariantModule = escnn.nn.EquivariantModule


class FieldType(escnn.nn.FieldType):  # type: ignore[misc]  # escnn has no types
    """How the channels of a feature map transform: a list of representations over a space.

    It equals escnn's own type of the same fields; and it tells whoever transforms a tensor by
    a number, as in e2cnn, what to write instead.

    Args:
        gspace: the space, from ``gspaces``.
        representations: one a field, of the space's group.

    Example:
        >>> from equicomir.e2cnn.gspaces import Rot2dOnR2
        >>> space = Rot2dOnR2(4)
        >>> FieldType(space, 2 * [space.regular_repr]).size
        8
    """

    def transform_fibers(self, input: Tensor, element: Any) -> Tensor:
        """Transform the channels alone of (batch, channels, height, width).

        Args:
            input: the tensor.
            element: of the group.

        Returns:
            The same shape.

        Raises:
            NotImplementedError: the element is a number.
        """
        check_element(element)
        transformed: Tensor = super().transform_fibers(input, element)
        return transformed

    def transform(
        self, input: Tensor, element: Any, coords: Tensor | None = None, order: int = 2
    ) -> Any:
        """Transform channels and plane of (batch, channels, height, width).

        Args:
            input: the tensor.
            element: of the group.
            coords: of points; escnn's own argument.
            order: of the spline that turns the plane.

        Returns:
            What escnn gives.

        Raises:
            NotImplementedError: the element is a number.
        """
        check_element(element)
        return super().transform(input, element, coords, order)

    def index_select(self, index: list[int]) -> "FieldType":
        """The type of the fields at these places."""
        return FieldType(self.gspace, [self.representations[i] for i in index])

    def __add__(self, other: Any) -> "FieldType":
        plain = super().__add__(other)
        return FieldType(self.gspace, plain.representations)

    __hash__ = escnn.nn.FieldType.__hash__


class ModuleList(torch.nn.ModuleList):
    """A list of equivariant modules, none of which may be an ordinary one.

    Args:
        modules: the first members.

    Raises:
        TypeError: a member is not an EquivariantModule.
    """

    def __init__(self, modules: Iterable[torch.nn.Module] | None = None) -> None:
        super().__init__(modules)

    def add_module(self, name: str, module: torch.nn.Module | None) -> None:
        """Put a module at a place: every way into the list passes here or by item."""
        super().add_module(name, _checked(module))

    def __setitem__(self, idx: int, module: torch.nn.Module) -> None:
        super().__setitem__(idx, _checked(module))

    def insert(self, index: int, module: torch.nn.Module) -> None:
        """Put a module before a place."""
        super().insert(index, _checked(module))

    def export(self) -> torch.nn.ModuleList:
        """The list of the ordinary torch modules that do the same, in eval mode."""
        self.eval()
        members: Sequence[Any] = list(self)
        return torch.nn.ModuleList([member.export() for member in members]).eval()


def _checked(module: torch.nn.Module | None) -> Any:
    if not isinstance(module, EquivariantModule):
        raise TypeError(
            f"ModuleList: expected equivariant modules, got {type(module).__name__}; "
            "use torch.nn.ModuleList for others."
        )
    return module
