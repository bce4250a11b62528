"""The SE(2, N) group CNN: planar kernels turned by hand, in plain torch.

Bekkers et al., Roto-translation covariant convolutional networks, MICCAI 2018, arXiv 1804.03393;
Lafarge et al., Medical Image Analysis 2021, arXiv 2002.08725. A feature map holds N orientations:
the image is *lifted* by N turned copies of each kernel; an SE(2, N) convolution turns its kernel
and shifts it cyclically along the orientations; a *projection* takes the greatest of them.

Kernels between grid points are turned by bilinear weights inside a disk, so turns by 90 degrees
are exact and others are approximate. No escnn is in here, so it is also an oracle: with N = 4 its
convolution and escnn's regular field of C4 must agree.
"""

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.encoders.encoder import check_architecture
from equicomir.encoders.groups import parse_group
from equicomir.encoders.unet import FieldNormalisation, Parity, Pooling, UNet
from equicomir.filters import disk_mask

_ORDERS = (1, 4, 8, 16)


def kernel_turns(orientations: int, kernel_size: int) -> Tensor:
    """Matrices that turn a kernel, one an orientation, by bilinear weights inside a disk.

    Args:
        orientations: N; the n-th turns by 360 n / N degrees, as ``torch.rot90`` turns.
        kernel_size: odd, in pixels.

    Returns:
        Shape (N, kernel_size ** 2, kernel_size ** 2), float64: from the taps of a kernel, row by
        row, to those of the turned one. Taps outside the disk of radius ``kernel_size / 2`` are
        neither read nor written.

    Example:
        >>> kernel = torch.arange(9, dtype=torch.float64).view(3, 3)
        >>> turned = (kernel_turns(4, 3)[1] @ kernel.flatten()).view(3, 3)
        >>> torch.allclose(turned, torch.rot90(kernel))
        True
    """
    inside = disk_mask(kernel_size, kernel_size / 2).flatten()
    offsets = torch.arange(kernel_size, dtype=torch.float64) - (kernel_size - 1) / 2
    rows, columns = (grid.flatten() for grid in torch.meshgrid(offsets, offsets, indexing="ij"))
    matrices = []
    for index in range(orientations):
        angle = 2 * math.pi * index / orientations
        cos, sin = math.cos(angle), math.sin(angle)
        # Where each tap of the turned kernel comes from; bilinear weights are products of hats.
        from_row, from_column = cos * rows + sin * columns, cos * columns - sin * rows
        along_rows = (1 - (from_row[:, None] - rows).abs()).clamp(min=0)
        along_columns = (1 - (from_column[:, None] - columns).abs()).clamp(min=0)
        matrices.append(along_rows * along_columns * inside[:, None] * inside)
    return torch.stack(matrices)


class RotoTranslationConvolution(nn.Module):
    """Convolution over positions and orientations, of SE(2, N).

    Args:
        in_fields: channels of the image if ``lifting``, else fields of N orientations.
        out_fields: fields of N orientations out.
        orientations: N.
        kernel_size: odd, in pixels.
        lifting: the input is an image.
        generator: draws the first weights, by He's rule.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> layer = RotoTranslationConvolution(1, 1, orientations=4, kernel_size=3, generator=rng)
        >>> x = torch.rand(1, 4, 8, 8, generator=rng)
        >>> seen = torch.rot90(x, 1, (2, 3)).roll(1, dims=1)
        >>> torch.allclose(layer(seen), torch.rot90(layer(x), 1, (2, 3)).roll(1, dims=1), atol=1e-5)
        True
    """

    turns: Tensor

    def __init__(
        self,
        in_fields: int,
        out_fields: int,
        *,
        orientations: int,
        kernel_size: int,
        generator: torch.Generator,
        lifting: bool = False,
    ) -> None:
        super().__init__()
        self.orientations, self.kernel_size = orientations, kernel_size
        turns = kernel_turns(orientations, kernel_size).float()
        self.register_buffer("turns", turns, persistent=False)
        seen = 1 if lifting else orientations
        taps = int(disk_mask(kernel_size, kernel_size / 2).sum())
        shape = (out_fields, in_fields, seen, kernel_size**2)
        scale = math.sqrt(2 / (in_fields * seen * taps))
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) * scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast; the turns are taken anew, in the precision that is asked for."""
        applied: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.turns = kernel_turns(self.orientations, self.kernel_size).to(self.weight)
        return applied

    def kernel(self) -> Tensor:
        """The turned kernels, (channels out, channels in, kernel_size, kernel_size)."""
        turned = torch.einsum("npq,oisq->noisp", self.turns, self.weight)
        if turned.shape[3] > 1:
            # Orientation n reads orientation n + s of its input through the kernel's s-th plane.
            turned = torch.stack([plane.roll(n, dims=2) for n, plane in enumerate(turned)])
        orientations, out_fields, in_fields, seen, _ = turned.shape
        return turned.transpose(0, 1).reshape(
            out_fields * orientations, in_fields * seen, self.kernel_size, self.kernel_size
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, keeping height and width; the border is continued by its last pixel."""
        if self.kernel_size > 1:
            x = F.pad(x, (self.kernel_size // 2,) * 4, mode="replicate")
        return F.conv2d(x, self.kernel())


class Projection(nn.Module):
    """The greatest of the orientations of each field, then one linear combination of fields.

    Args:
        fields: that come in.
        channels: that go out.
        orientations: channels of each field.
        generator: draws the first weights.

    Example:
        >>> project = Projection(2, 1, 8, torch.Generator().manual_seed(0))
        >>> project(torch.rand(1, 16, 4, 4)).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self, fields: int, channels: int, orientations: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.fields, self.orientations = fields, orientations
        self.combine = nn.Conv2d(fields, channels, 1)
        with torch.no_grad():
            draw = torch.randn(self.combine.weight.shape, generator=generator)
            # As the steerable encoder begins, where no difference decides the loss yet.
            self.combine.weight.copy_(draw * 0.3 * math.sqrt(2 / fields))
            assert self.combine.bias is not None
            self.combine.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields * orientations, height, width) to (batch, channels, height, width)."""
        greatest = x.unflatten(1, (self.fields, self.orientations)).amax(2)
        combined: Tensor = self.combine(greatest)
        return combined


def roto_translation(
    in_channels: int = 1,
    representation_channels: int = 1,
    *,
    group: str = "C8",
    widths: Sequence[int] = (2, 4, 8),
    kernel_size: int = 5,
    parity: Parity = "even",
    pooling: Pooling = "average",
    residual: bool = False,
    generator: torch.Generator,
) -> UNet:
    """The U-Net of :func:`equicomir.encoders.steerable.steerable` with SE(2, N) convolutions.

    Args:
        in_channels: scalar channels of the image.
        representation_channels: scalar channels of the representation.
        group: ``"C1"``, ``"C4"``, ``"C8"`` or ``"C16"``: N orientations.
        widths: fields of N orientations at each resolution, finest first.
        kernel_size: odd, in pixels.
        parity: ``"even"`` or ``"odd"``, as there.
        pooling: ``"average"`` or ``"blur"``, as there.
        residual: as there.
        generator: draws the first weights.

    Returns:
        The encoder: (batch, in_channels, height, width) to
        (batch, representation_channels, height, width).

    Raises:
        ValueError: an argument is outside its range.

    Example:
        >>> encoder = roto_translation(widths=(1, 1), generator=torch.Generator().manual_seed(0))
        >>> x = torch.rand(2, 1, 16, 16)
        >>> turned = torch.rot90(encoder(x), 1, (2, 3))
        >>> torch.allclose(encoder(torch.rot90(x, 1, (2, 3))), turned, atol=1e-5)
        True
    """
    acting = parse_group(group)
    check_architecture(in_channels, representation_channels, widths, kernel_size, acting.field_size)
    if acting.mirrors or acting.order not in _ORDERS:
        nearest = min(_ORDERS, key=lambda n: abs(n - (acting.order or max(_ORDERS))))
        raise ValueError(
            f"group: expected C1, C4, C8 or C16, got {group!r}; the nearest is C{nearest}."
        )
    orientations = acting.order

    def convolution(fields_in: int, fields_out: int, size: int) -> nn.Module:
        return RotoTranslationConvolution(
            fields_in or in_channels,
            fields_out,
            orientations=orientations,
            kernel_size=size,
            lifting=fields_in == 0,
            generator=generator,
        )

    def block(fields_in: int, fields_out: int) -> nn.Module:
        return nn.Sequential(
            convolution(fields_in, fields_out, kernel_size),
            FieldNormalisation(fields_out, orientations),
            nn.ReLU(inplace=True),
        )

    def mix(fields_in: int, fields_out: int) -> nn.Module:
        return convolution(fields_in, fields_out, 1)

    return UNet(
        block,
        mix,
        Projection(widths[0], representation_channels, orientations, generator),
        widths=widths,
        in_channels=in_channels,
        parity=parity,
        pooling=pooling,
        residual=residual,
    )
