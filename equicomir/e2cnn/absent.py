"""The names of e2cnn 0.2.3 that escnn cannot carry: each with its reason and its replacement."""

from typing import Any

_REASONS = {
    "R2Diffop": (
        "escnn has no steerable partial differential operators; "
        "use R2Conv, whose kernels are steerable too"
    ),
    "diffops": (
        "escnn has no steerable partial differential operators; "
        "use equicomir.e2cnn.nn.R2Conv, whose kernels are steerable too"
    ),
    "kernels": (
        "escnn solves for its kernels in another way, with other arguments; "
        "use escnn.kernels, or R2Conv, which asks for them itself"
    ),
}


def refuse(module: str, name: str) -> Exception:
    """The exception for a name that ``module`` lacks, to be raised by its ``__getattr__``.

    Args:
        module: as a user writes it, for example "e2cnn.nn".
        name: what was asked for.

    Returns:
        NotImplementedError with a reason for a name e2cnn had, AttributeError for any other.

    Example:
        >>> type(refuse("e2cnn.nn", "R2Diffop")).__name__
        'NotImplementedError'
        >>> type(refuse("e2cnn.nn", "R3Conv")).__name__
        'AttributeError'
    """
    if name in _REASONS:
        return NotImplementedError(f"{module}.{name} cannot be offered: {_REASONS[name]}.")
    return AttributeError(f"{module} has no name {name!r}, nor had it in e2cnn 0.2.3.")


def check_element(element: Any) -> None:
    """Refuse a group element written as e2cnn 0.2.3 wrote it: a number or a tuple of numbers.

    Raises:
        NotImplementedError: ``element`` is a number or a tuple.

    Example:
        >>> check_element("anything that is no number")
        >>> check_element(1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        NotImplementedError: Group elements as numbers cannot be offered, got 1: ...
    """
    if isinstance(element, (int, float, tuple)):
        raise NotImplementedError(
            f"Group elements as numbers cannot be offered, got {element!r}: in escnn an element "
            f"knows its group; use gspace.fibergroup.element({element!r})."
        )
