"""Rotation-equivariant encoders: convolutions whose kernels are steerable by construction.

A feature map is a stack of *regular fields* of the cyclic group C_N: N channels that shift
cyclically when the image turns by 360 / N degrees (Weiler and Cesa, General E(2)-equivariant
steerable CNNs, NeurIPS 2019, arXiv 1911.08251). escnn solves for the kernels that respect this;
we take its basis once, as a plain tensor, and learn the weights of its linear combinations. So
no object of escnn lives in a model: it can be copied, pickled, edited in eval mode and saved
like any other network, and a checkpoint holds parameters and statistics only.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.encoders.unet import UNet

with warnings.catch_warnings():
    # py3nj serves SO(3) only; in the plane it is never used.
    warnings.filterwarnings("ignore", message=".*py3nj.*", category=UserWarning)
    import escnn.gspaces
    import escnn.nn


@lru_cache(maxsize=64)
def _kernel_basis(order: int, lifting: bool, pointwise: bool, kernel_size: int) -> Tensor:
    """Basis of the C_N-steerable kernels between two single fields.

    Returns shape (basis, channels out, channels in, kernel_size, kernel_size): from the trivial
    field (``lifting``) or a regular field, to a regular field or the trivial one (``pointwise``).
    """
    space = escnn.gspaces.rot2dOnR2(order)
    trivial, regular = space.trivial_repr, space.regular_repr
    in_type = escnn.nn.FieldType(space, [trivial if lifting else regular])
    out_type = escnn.nn.FieldType(space, [trivial if pointwise else regular])
    with contextlib.redirect_stdout(io.StringIO()):
        layer = escnn.nn.R2Conv(in_type, out_type, kernel_size, bias=False, initialize=False)
    expand = layer.basisexpansion
    with torch.no_grad():
        kernels = torch.stack([expand(one) for one in torch.eye(expand.dimension())])
    shape = (out_type.size, in_type.size, kernel_size, kernel_size)
    # A clone of our own: escnn shares its sampled bases among all layers of the process.
    return kernels.reshape(-1, *shape).detach().clone()


class SteerableConvolution(nn.Module):
    """Convolution from fields to fields of C_N whose kernel is a combination of the basis.

    Args:
        in_fields: number of fields in (scalars if ``lifting``, else regular).
        out_fields: number of fields out (scalars if ``projecting``, else regular).
        order: N of the group C_N.
        kernel_size: odd, in pixels.
        lifting: the input is an image of scalar channels.
        projecting: the output is an image of scalar channels.
        generator: draws the first weights, by He's rule on the expanded kernel.

    Example:
        A quarter turn of the input turns the output and shifts its regular channels cyclically.

        >>> rng = torch.Generator().manual_seed(0)
        >>> lift = SteerableConvolution(1, 1, order=4, kernel_size=3, lifting=True, generator=rng)
        >>> x = torch.rand(1, 1, 8, 8, generator=rng)
        >>> turned = torch.rot90(lift(x), 1, (2, 3)).roll(1, dims=1)
        >>> torch.allclose(lift(torch.rot90(x, 1, (2, 3))), turned, atol=1e-5)
        True
    """

    basis: Tensor

    def __init__(
        self,
        in_fields: int,
        out_fields: int,
        *,
        order: int,
        kernel_size: int,
        generator: torch.Generator,
        lifting: bool = False,
        projecting: bool = False,
    ) -> None:
        super().__init__()
        basis = _kernel_basis(order, lifting, projecting, kernel_size).clone()
        self.register_buffer("basis", basis, persistent=False)
        draw = torch.randn(out_fields, in_fields, len(basis), generator=generator)
        if projecting:
            # The channels of a field are added with one sign, so that their mean adds up; and
            # a loss of squared differences should begin where none of them decides yet. (With
            # He's rule here it began at five times log(2N - 1), and learned far more slowly.)
            gain, power = 0.3, basis.sum((2, 3, 4)).square()
        else:
            gain, power = 1.0, basis.square()
        energy = in_fields * float(power.sum()) / basis.shape[1]
        self.weight = nn.Parameter(draw * gain * math.sqrt(2 / energy))
        self.bias = nn.Parameter(torch.zeros(out_fields)) if projecting else None
        self.padding = kernel_size // 2

    def kernel(self) -> Tensor:
        """The expanded kernel, (channels out, channels in, kernel_size, kernel_size)."""
        fields = torch.einsum("oib,bxykl->oxiykl", self.weight, self.basis)
        out_fields, out_size, in_fields, in_size, *taps = fields.shape
        return fields.reshape(out_fields * out_size, in_fields * in_size, *taps)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, keeping height and width; the border is continued by its last pixel."""
        if self.padding:
            x = F.pad(x, (self.padding,) * 4, mode="replicate")
        return F.conv2d(x, self.kernel(), self.bias)


class FieldNormalisation(nn.Module):
    """Batch normalisation with one mean, variance, scale and shift a regular field.

    Statistics shared by the N channels of a field are what a cyclic shift cannot change.
    """

    def __init__(self, fields: int, order: int) -> None:
        super().__init__()
        self.fields, self.order = fields, order
        self.norm = nn.BatchNorm3d(fields)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, fields * order, height, width)."""
        grouped = x.unflatten(1, (self.fields, self.order))
        normalised: Tensor = self.norm(grouped)
        return normalised.flatten(1, 2)


def steerable(
    in_channels: int = 1,
    representation_channels: int = 1,
    *,
    order: int = 8,
    widths: Sequence[int] = (2, 4, 8),
    kernel_size: int = 5,
    generator: torch.Generator,
) -> UNet:
    """A U-Net equivariant to turns by 360 / order degrees.

    Args:
        in_channels: scalar channels of the image.
        representation_channels: scalar channels of the representation.
        order: N of the cyclic group C_N; 4 and 8 contain the quarter turns.
        widths: regular fields at each resolution, finest first.
        kernel_size: odd, in pixels.
        generator: draws the first weights.

    Returns:
        The encoder: (batch, in_channels, height, width) to
        (batch, representation_channels, height, width).

    Raises:
        ValueError: an argument is outside its range.

    Example:
        >>> encoder = steerable(widths=(1, 1), generator=torch.Generator().manual_seed(0))
        >>> x = torch.rand(2, 1, 16, 16)
        >>> turned = torch.rot90(encoder(x), 1, (2, 3))
        >>> torch.allclose(encoder(torch.rot90(x, 1, (2, 3))), turned, atol=1e-5)
        True
    """
    check_architecture(in_channels, representation_channels, order, widths, kernel_size)

    def convolution(fields_in: int, fields_out: int, size: int) -> nn.Module:
        return SteerableConvolution(
            fields_in or in_channels,
            fields_out,
            order=order,
            kernel_size=size,
            lifting=fields_in == 0,
            generator=generator,
        )

    def block(fields_in: int, fields_out: int) -> nn.Module:
        return nn.Sequential(
            convolution(fields_in, fields_out, kernel_size),
            FieldNormalisation(fields_out, order),
            nn.ReLU(inplace=True),
        )

    def mix(fields_in: int, fields_out: int) -> nn.Module:
        return convolution(fields_in, fields_out, 1)

    head = SteerableConvolution(
        widths[0],
        representation_channels,
        order=order,
        kernel_size=1,
        projecting=True,
        generator=generator,
    )
    return UNet(block, mix, head, widths=widths, in_channels=in_channels)


def check_architecture(
    in_channels: int,
    representation_channels: int,
    order: int,
    widths: Sequence[int],
    kernel_size: int,
) -> None:
    """Refuse an impossible architecture, naming the argument (shared with the plain control)."""
    if min(in_channels, representation_channels) < 1:
        raise ValueError(
            "in_channels, representation_channels: expected at least 1 each, got "
            f"{in_channels} and {representation_channels}."
        )
    if order < 1:
        raise ValueError(f"order: expected the order of a cyclic group, 1 or more, got {order}.")
    if not widths or min(widths) < 1:
        raise ValueError(f"widths: expected one positive number a level, got {tuple(widths)}.")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size: expected an odd number, got {kernel_size}; "
            f"the nearest is {abs(kernel_size) + 1}."
        )
