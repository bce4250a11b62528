"""Rotation-equivariant representations of multimodal images, and registration through them.

Three functions are enough to use a model on a pair of one's own::

    model = equicomir.load("model")
    representation = equicomir.encode(model, image, modality="HE")
    found = equicomir.register(model, fixed, moving)

They stand in :mod:`equicomir.registering`, and are imported when they are asked for: torch takes
seconds, and a command's ``--help`` needs none.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equicomir.registering import encode, load, register

__all__ = ["encode", "load", "register"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from equicomir import registering

    return getattr(registering, name)
