"""Extra input layers by what settings call them: a maker's name, with its numbers."""

import ast
import inspect
from collections.abc import Callable

from equicomir.images import layers, neighbourhoods
from equicomir.images.layers import Layer

_MAKERS: dict[str, Callable[..., Layer]] = {
    make.__name__: make
    for make in (
        layers.gradient_field,
        layers.gradient_magnitude,
        layers.structure_field,
        layers.laplacian,
        layers.high_passed,
        neighbourhoods.local_entropy,
        neighbourhoods.edge_distance,
    )
}

_LONGEST = 200  # letters: a name comes from a file, and Python reads it
_MOST = 4096  # of its numbers, and pixels that its border may reach


def layer_of(name: str) -> Layer:
    """The layer that a settings file or a command line names.

    Args:
        name: such as ``"gradient_field"``, ``"laplacian(0.1)"`` or ``"local_entropy(bins=8)"``.

    Returns:
        The layer, with its default numbers where none are given.

    Raises:
        ValueError: no such layer, or not such numbers.

    Example:
        >>> layer_of("gradient_field(sigma=2)") == layers.gradient_field(2.0)
        True
    """
    maker, _, rest = name.strip().partition("(")
    if maker not in _MAKERS or len(name) > _LONGEST:
        raise ValueError(f"layers: expected one of {sorted(_MAKERS)}, got {name[:_LONGEST]!r}.")
    make = _MAKERS[maker]
    try:
        call = ast.parse(f"{maker}({rest or ')'}", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("more than one call")
        positional = [ast.literal_eval(value) for value in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        numbers = [n for n in (*positional, *named.values()) if isinstance(n, int | float)]
        if any(not -_MOST <= number <= _MOST for number in numbers):
            raise ValueError(f"numbers above {_MOST}")
        layer = make(*positional, **named)
        if layer.reach > _MOST:
            raise ValueError(f"a border of {layer.reach} pixels")
        return layer
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"layers: expected {maker}{inspect.signature(make)}, got {name!r} ({error})."
        ) from error
