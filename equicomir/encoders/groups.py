"""Groups of rotations, and perhaps mirrors, of the plane: what an encoder is equivariant to."""

import math
import re
from dataclasses import dataclass

#: Highest frequency of a Fourier field of SO(2) or O(2).
FREQUENCY = 3


@dataclass(frozen=True)
class Group:
    """A group of rotations, and perhaps mirrors, of the plane.

    Attributes:
        order: number of rotations; None for all of the circle.
        mirrors: whether it holds mirrors too.
    """

    order: int | None
    mirrors: bool

    @property
    def name(self) -> str:
        """As it is written: C8, D4, SO(2), O(2)."""
        if self.order is None:
            return "O(2)" if self.mirrors else "SO(2)"
        return f"{'D' if self.mirrors else 'C'}{self.order}"

    @property
    def grid_turns(self) -> int:
        """How many of its rotations map a square grid of pixels onto itself: 1, 2 or 4."""
        return 4 if self.order is None else math.gcd(self.order, 4)

    @property
    def field_size(self) -> int:
        """Channels of a feature field."""
        rotations = 2 * FREQUENCY + 1 if self.order is None else self.order
        return rotations * (1 + self.mirrors)


def parse_group(name: str) -> Group:
    """Read a group's name.

    Args:
        name: ``"C8"`` (turns by 45 degrees), ``"D8"`` (and mirrors), ``"SO(2)"`` (all turns) or
            ``"O(2)"`` (and mirrors); any order from 1, with mirrors from 2.

    Returns:
        The group.

    Raises:
        ValueError: there is no such group; the nearest one is named.
        TypeError: the name is no text.

    Example:
        >>> parse_group("D4")
        Group(order=4, mirrors=True)
    """
    known = "expected C1, C2, ..., D2, D3, ..., SO(2) or O(2)"
    if not isinstance(name, str):
        raise TypeError(f"group: {known}, got {name!r}; for turns by 45 degrees say 'C8'.")
    if name in ("SO(2)", "O(2)"):
        return Group(None, name == "O(2)")
    found = re.fullmatch(r"\s*([a-zA-Z]*)\W*?(-?\d*)\W*", name)
    letters, digits = (found[1].upper(), found[2]) if found else ("C", "")
    if letters in ("SO", "O"):
        nearest = Group(None, letters == "O")
    else:
        mirrors = letters == "D"
        # D1, a mirror and no turn, is not for rotation-equivariant networks: escnn has none.
        order = max(1 + mirrors, int(digits)) if digits not in ("", "-") else 8
        nearest = Group(order, mirrors)
    if nearest.name != name:
        raise ValueError(f"group: {known}, got {name!r}; the nearest is {nearest.name}.")
    return nearest
