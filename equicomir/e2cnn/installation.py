"""``install()``: from then on ``import e2cnn`` finds this room."""

import sys
import types
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from equicomir.e2cnn import group, gspaces, nn
from equicomir.e2cnn.absent import refuse
from equicomir.e2cnn.nn import init

# Where e2cnn 0.2.3 kept things: each path finds the names of the module before the colon.
_DEEP_PATHS = """
group: group groups groups.cyclicgroup groups.dihedralgroup groups.factory groups.o2group
    groups.so2group irrep representation utils
gspaces: gspace r2 r2.flip2d_on_r2 r2.fliprot2d_on_r2 r2.general_r2 r2.rot2d_on_r2
    r2.trivial_on_r2
nn: field_type geometric_tensor init modules modules.batchnormalization
    modules.batchnormalization.gnorm modules.batchnormalization.induced_norm
    modules.batchnormalization.inner modules.batchnormalization.norm modules.branching_module
    modules.disentangle_module modules.dropout modules.dropout.field modules.dropout.pointwise
    modules.equivariant_module modules.identity_module modules.invariantmaps
    modules.invariantmaps.gpool modules.invariantmaps.induced_norm modules.invariantmaps.norm
    modules.masking_module modules.merge_module modules.module_list modules.multiple_module
    modules.nonlinearities modules.nonlinearities.concatenated modules.nonlinearities.elu
    modules.nonlinearities.gated1 modules.nonlinearities.gated2
    modules.nonlinearities.induced_gated1 modules.nonlinearities.induced_norm
    modules.nonlinearities.norm modules.nonlinearities.pointwise modules.nonlinearities.relu
    modules.nonlinearities.vectorfield modules.pooling modules.pooling.norm_max
    modules.pooling.pointwise_adaptive_avg modules.pooling.pointwise_adaptive_max
    modules.pooling.pointwise_avg modules.pooling.pointwise_max modules.r2_conv
    modules.r2_conv.r2_transposed_convolution modules.r2_conv.r2convolution modules.r2upsampling
    modules.reshuffle_module modules.restriction_module modules.sequential_module
"""


def install() -> None:
    """Let ``import e2cnn``, and every ``from e2cnn.x import y``, find ``equicomir.e2cnn``.

    For this process only; calling it again changes nothing. What cannot be offered raises
    NotImplementedError where it is imported, with the reason.

    Raises:
        RuntimeError: the real e2cnn is imported already.

    Example:
        >>> install()  # doctest: +SKIP
        >>> from e2cnn import gspaces  # doctest: +SKIP
        >>> gspaces.Rot2dOnR2(4).fibergroup.order()  # doctest: +SKIP
        4
    """
    present = sys.modules.get("e2cnn")
    if isinstance(present, _StandIn):
        return
    if present is not None:
        where = getattr(present, "__file__", "an unknown place")
        raise RuntimeError(
            f"install: expected to come before any import of e2cnn, found it from {where}; "
            "call install() first, or restart Python."
        )
    from equicomir import e2cnn as house

    vars(_enter("e2cnn", house))["__version__"] = "0.2.3"
    for name, origin in (("group", group), ("gspaces", gspaces), ("nn", nn)):
        _enter(f"e2cnn.{name}", origin)
    for path, origin in _deep_paths():
        _enter(path, origin)
    sys.meta_path.insert(0, _Refusal())


def _enter(path: str, origin: types.ModuleType) -> types.ModuleType:
    """Let ``import path`` find the names of ``origin``."""
    module = _StandIn(path, origin)
    sys.modules[path] = module
    parent, _, last = path.rpartition(".")
    if parent:
        vars(sys.modules[parent])[last] = module
    return module


def _deep_paths() -> Iterator[tuple[str, types.ModuleType]]:
    """(path, the module with its names), parents first."""
    rooms = {"group": group, "gspaces": gspaces, "nn": nn}
    room = ""
    for word in _DEEP_PATHS.split():
        if word.endswith(":"):
            room = word[:-1]
        else:
            yield f"e2cnn.{room}.{word}", init if word == "init" else rooms[room]


def _is_reasoned(name: str) -> bool:
    return isinstance(refuse("e2cnn", name), NotImplementedError)


class _StandIn(types.ModuleType):
    """A module of another name with the names of ``origin``."""

    def __init__(self, name: str, origin: types.ModuleType) -> None:
        super().__init__(name, origin.__doc__)
        self._origin = origin
        self.__path__: list[str] = []  # or Python says "no package" before we give our reason

    def __getattr__(self, name: str) -> Any:
        return getattr(self._origin, name)


class _Refusal(MetaPathFinder):
    """Says why a module below e2cnn cannot be imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if top != "e2cnn":
            return None
        name = next((n for n in reversed(rest.split(".")) if _is_reasoned(n)), rest)
        reason = refuse("e2cnn", name)
        if isinstance(reason, NotImplementedError):
            raise reason
        raise ModuleNotFoundError(
            f"{fullname} cannot be offered: only the documented names of e2cnn 0.2.3 are; "
            "import them from e2cnn.nn, e2cnn.gspaces or e2cnn.group.",
            name=fullname,
        )
