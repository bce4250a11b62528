"""Convolutions with e2cnn's arguments over escnn's: ``basisexpansion`` and ``maximum_offset``."""

from collections.abc import Callable
from typing import Any

from equicomir.e2cnn.engine import escnn

Filter = Callable[[dict[str, Any]], bool]


def _check(name: str, in_type: Any, basisexpansion: str, maximum_offset: int | None) -> None:
    if basisexpansion != "blocks":
        raise ValueError(
            f"{name}: expected basisexpansion='blocks', the only one, got {basisexpansion!r}."
        )
    # For all rotations e2cnn itself ignored the offset.
    if maximum_offset is not None and in_type.gspace.rotations_order != -1:
        raise NotImplementedError(
            f"{name}: maximum_offset={maximum_offset} cannot be offered, since escnn bounds the "
            "frequencies of its kernels alone; use frequencies_cutoff or basis_filter."
        )


def _with_frequency(keep: Filter | None) -> Filter | None:
    """A filter of basis elements that finds the frequency under e2cnn's name too."""
    if keep is None:
        return None
    return lambda element: keep({**element, "frequency": element["irrep:frequency"]})


class R2Conv(escnn.nn.R2Conv):  # type: ignore[misc]  # escnn has no types
    """Steerable convolution between two field types, with e2cnn's arguments in e2cnn's order.

    Args:
        in_type: fields of the input.
        out_type: fields of the output.
        kernel_size: side of the kernel, in pixels.
        padding: on every side, in pixels.
        stride: in pixels.
        dilation: in pixels.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.
        groups: of fields that do not mix.
        bias: one number a trivial irrep of the output.
        basisexpansion: 'blocks', the only one there was.
        sigma: widths of the rings of the basis, in pixels.
        frequencies_cutoff: bound on angular frequencies: a factor of the radius or a function.
        rings: radii of the rings of the basis, in pixels.
        maximum_offset: None, except for all rotations, where e2cnn ignored it.
        recompute: do not share the basis with other layers of the process.
        basis_filter: whether to keep a basis element, given its attributes.
        initialize: draw the first weights (He's rule); zero otherwise.

    Raises:
        ValueError: ``basisexpansion`` is another one.
        NotImplementedError: ``maximum_offset`` is given for a finite group.

    Example:
        >>> from equicomir.e2cnn import gspaces, nn
        >>> space = gspaces.Rot2dOnR2(4)
        >>> image = nn.FieldType(space, [space.trivial_repr])
        >>> layer = nn.R2Conv(image, image, 3, basisexpansion="blocks")
        >>> tuple(layer.weights.shape)
        (2,)
    """

    def __init__(
        self,
        in_type: Any,
        out_type: Any,
        kernel_size: int,
        padding: int = 0,
        stride: int = 1,
        dilation: int = 1,
        padding_mode: str = "zeros",
        groups: int = 1,
        bias: bool = True,
        basisexpansion: str = "blocks",
        sigma: list[float] | float | None = None,
        frequencies_cutoff: float | Callable[[float], float] | None = None,
        rings: list[float] | None = None,
        maximum_offset: int | None = None,
        recompute: bool = False,
        basis_filter: Filter | None = None,
        initialize: bool = True,
    ) -> None:
        _check("R2Conv", in_type, basisexpansion, maximum_offset)
        super().__init__(
            in_type,
            out_type,
            kernel_size,
            padding=padding,
            stride=stride,
            dilation=dilation,
            padding_mode=padding_mode,
            groups=groups,
            bias=bias,
            sigma=sigma,
            frequencies_cutoff=frequencies_cutoff,
            rings=rings,
            recompute=recompute,
            basis_filter=_with_frequency(basis_filter),
            initialize=initialize,
        )


class R2ConvTransposed(escnn.nn.R2ConvTransposed):  # type: ignore[misc]  # escnn has no types
    """Steerable transposed convolution, with e2cnn's arguments in e2cnn's order.

    Args and Raises: those of R2Conv, with ``output_padding`` (pixels added to the output's
    bottom and right) after ``padding``, and no ``padding_mode``.
    """

    def __init__(
        self,
        in_type: Any,
        out_type: Any,
        kernel_size: int,
        padding: int = 0,
        output_padding: int = 0,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        basisexpansion: str = "blocks",
        sigma: list[float] | float | None = None,
        frequencies_cutoff: float | Callable[[float], float] | None = None,
        rings: list[float] | None = None,
        maximum_offset: int | None = None,
        recompute: bool = False,
        basis_filter: Filter | None = None,
        initialize: bool = True,
    ) -> None:
        _check("R2ConvTransposed", in_type, basisexpansion, maximum_offset)
        super().__init__(
            in_type,
            out_type,
            kernel_size,
            padding=padding,
            output_padding=output_padding,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            sigma=sigma,
            frequencies_cutoff=frequencies_cutoff,
            rings=rings,
            recompute=recompute,
            basis_filter=_with_frequency(basis_filter),
            initialize=initialize,
        )
