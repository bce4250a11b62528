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
    if maker not in _MAKERS:
        raise ValueError(f"layers: expected one of {sorted(_MAKERS)}, got {name!r}.")
    make = _MAKERS[maker]
    try:
        call = ast.parse(f"{maker}({rest or ')'}", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("more than one call")
        positional = [ast.literal_eval(value) for value in call.args]
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        return make(*positional, **named)
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"layers: expected {maker}{inspect.signature(make)}, got {name!r} ({error})."
        ) from error
