"""Rotation-equivariant encoders: a U-Net whose kernels are steerable by construction.

Weiler and Cesa, General E(2)-equivariant steerable CNNs, NeurIPS 2019, arXiv 1911.08251. The
fields and the kernels between them are those of :mod:`equicomir.encoders.fields`; what is here
learns the weights of linear combinations of such kernels. A checkpoint holds parameters and
statistics only: the basis is made anew.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equicomir.encoders.encoder import check_architecture
from equicomir.encoders.fields import (
    SAMPLES,
    Field,
    fourier_samples,
    input_channels,
    kernel_basis,
)
from equicomir.encoders.groups import Group, parse_group
from equicomir.encoders.normalisation import mean_over_processes, processes
from equicomir.encoders.unet import FieldNormalisation, Parity, Pooling, UNet


class SteerableConvolution(nn.Module):
    """Convolution from fields to fields of a group; its kernel is a combination of the basis.

    Args:
        sources: one entry a field in: its frequency (0 a scalar, 1 a vector, ...), or None for a
            feature field.
        target: what each field out is, likewise.
        out_fields: number of fields out.
        group: which group.
        kernel_size: odd, in pixels.
        smooth: kernels without high frequencies; see ``kernel_basis``.
        generator: draws the first weights, by He's rule on the expanded kernel.

    Example:
        A quarter turn of the input turns the output and shifts its regular channels cyclically.

        >>> rng = torch.Generator().manual_seed(0)
        >>> c4 = parse_group("C4")
        >>> lift = SteerableConvolution([0], None, 1, group=c4, kernel_size=3, generator=rng)
        >>> x = torch.rand(1, 1, 8, 8, generator=rng)
        >>> turned = torch.rot90(lift(x), 1, (2, 3)).roll(1, dims=1)
        >>> torch.allclose(lift(torch.rot90(x, 1, (2, 3))), turned, atol=1e-5)
        True
    """

    def __init__(
        self,
        sources: Sequence[Field],
        target: Field,
        out_fields: int,
        *,
        group: Group,
        kernel_size: int,
        smooth: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        runs = [(field, len(list(same))) for field, same in groupby(sources)]
        self.bases = [(group, field, target, kernel_size, smooth) for field, _ in runs]
        for index, of in enumerate(self.bases):
            basis = kernel_basis(*of).float()
            self.register_buffer(f"basis{index}", basis, persistent=False)
        exact = [kernel_basis(*of) for of in self.bases]
        if target == 0:
            # The channels of a field are added with one sign, so that their mean adds up; and
            # a loss of squared differences should begin where none of them decides yet. (With
            # He's rule here it began at five times log(2N - 1), and learned far more slowly.)
            gain, powers = 0.3, [basis.sum((2, 3, 4)).square().sum() for basis in exact]
        else:
            gain, powers = 1.0, [basis.square().sum() for basis in exact]
        counts = [count for _, count in runs]
        energy = sum(n * float(p) for n, p in zip(counts, powers, strict=True)) / exact[0].shape[1]
        self.weights = nn.ParameterList(
            torch.randn(out_fields, count, len(basis), generator=generator)
            * (gain * math.sqrt(2 / energy))
            for count, basis in zip(counts, exact, strict=True)
        )
        self.bias = nn.Parameter(torch.zeros(out_fields)) if target == 0 else None
        self.padding = kernel_size // 2

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast; the basis is taken anew, in the precision that is asked for."""
        applied: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for index, of in enumerate(self.bases):
            setattr(self, f"basis{index}", kernel_basis(*of).to(self.weights[0]))
        return applied

    def kernel(self) -> Tensor:
        """The expanded kernel, (channels out, channels in, kernel_size, kernel_size)."""
        blocks = []
        for index, weight in enumerate(self.weights):
            basis = getattr(self, f"basis{index}")
            fields = torch.einsum("oib,bxykl->oxiykl", weight, basis)
            out_fields, out_size, in_fields, in_size, *taps = fields.shape
            blocks.append(fields.reshape(out_fields * out_size, in_fields * in_size, *taps))
        return torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, keeping height and width; the border is continued by its last pixel."""
        if self.padding:
            x = F.pad(x, (self.padding,) * 4, mode="replicate")
        return F.conv2d(x, self.kernel(), self.bias)


class FourierActivation(nn.Module):
    """Batch normalisation and ELU of Fourier fields, by way of samples of their functions.

    One mean (of the function, which is its first coefficient), variance, scale and shift a field:
    a turn changes none of them. The function is read at :data:`SAMPLES` turns, passed through
    the ELU, and its coefficients are taken again: exact for turns by the angle between samples,
    and the closer to exact for others the more samples there are.

    Args:
        fields: number of fields.
        mirrors: O(2), else SO(2).
        samples: number of turns.

    Source:
        Cohen, Geiger, Köhler and Welling, Spherical CNNs, ICLR 2018, arXiv 1801.10130, and escnn's
        FourierELU.
    """

    matrix: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, fields: int, mirrors: bool, samples: int = SAMPLES) -> None:
        super().__init__()
        self.fields, self.sampled = fields, (mirrors, samples)
        self.register_buffer("matrix", fourier_samples(*self.sampled).float(), persistent=False)
        self.weight = nn.Parameter(torch.ones(fields))
        self.bias = nn.Parameter(torch.zeros(fields))
        self.register_buffer("running_mean", torch.zeros(fields))
        self.register_buffer("running_var", torch.ones(fields))
        self.momentum, self.eps = 0.1, 1e-5

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast; the matrix is taken anew, in the precision that is asked for."""
        applied: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.matrix = fourier_samples(*self.sampled).to(self.weight)
        return applied

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each field's function, (fields,) each."""
        if not self.training:
            return self.running_mean, self.running_var
        x = x.to(self.weight.dtype)  # autocast has made it shorter
        mean = mean_over_processes(x[:, :, 0].mean((0, 2, 3)))
        # Parseval: the mean square of a function is the sum of its squared coefficients. Less the
        # mean first: the difference of two great squares would not be exact, nor surely positive.
        about_mean = (x[:, :, 0] - mean[:, None, None]).square().mean((0, 2, 3))
        variance = mean_over_processes(about_mean + x[:, :, 1:].square().mean((0, 3, 4)).sum(1))
        with torch.no_grad():
            count = processes() * x.numel() / (x.shape[1] * x.shape[2])
            unbiased = variance * count / max(1.0, count - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return mean, variance

    def forward(self, x: Tensor) -> Tensor:
        """(batch, fields * coefficients, height, width), likewise out."""
        size = self.matrix.shape[1]
        x = x.unflatten(1, (self.fields, size))
        mean, variance = self.statistics(x)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        values = torch.matmul(scale[:, None, None] * self.matrix, x.flatten(3))
        values = F.elu(values + shift[:, None, None], inplace=True)
        coefficients = torch.matmul(self.matrix.T / len(self.matrix), values)
        spread: Tensor = coefficients.unflatten(3, x.shape[-2:])
        return spread.flatten(1, 2)


def activation(fields: int, group: Group) -> list[nn.Module]:
    """Normalisation and nonlinearity of feature fields of a group.

    Args:
        fields: how many.
        group: whose fields.

    Returns:
        Modules, to be called one after the other.

    Example:
        >>> [type(module).__name__ for module in activation(2, parse_group("C8"))]
        ['FieldNormalisation', 'ReLU']
    """
    if group.order is None:
        return [FourierActivation(fields, group.mirrors)]
    return [FieldNormalisation(fields, group.field_size), nn.ReLU(inplace=True)]


def steerable(
    in_channels: int = 1,
    representation_channels: int = 1,
    *,
    frequencies: Sequence[int] | None = None,
    group: str = "C8",
    widths: Sequence[int] = (2, 4, 8),
    kernel_size: int = 5,
    smooth: bool = False,
    parity: Parity = "even",
    pooling: Pooling = "average",
    residual: bool = False,
    generator: torch.Generator,
) -> UNet:
    """A U-Net equivariant to a group of rotations, and perhaps mirrors.

    Args:
        in_channels: channels of the image.
        representation_channels: scalar channels of the representation.
        frequencies: what the channels are, one entry a field: 0 a scalar (one channel); 1 a
            vector, such as a gradient (two channels: along rows, along columns); k the real and
            imaginary part of (row + i column)^k (two channels). A structure tensor J is
            ``(0, 2)``: its trace, then J_rr - J_cc and 2 J_rc. None: all are scalars.
        group: ``"C8"`` (turns by 45 degrees), ``"D8"`` (and mirrors), any other order,
            ``"SO(2)"`` (all turns) or ``"O(2)"`` (and mirrors).
        widths: fields at each resolution, finest first.
        kernel_size: odd, in pixels.
        smooth: kernels of two broad rings, without high frequencies: with ``kernel_size=7``,
            ``pooling="blur"``, two resolutions and SO(2) the smallest error at every angle.
        parity: valid sizes: ``"even"`` m * 2^L, ``"odd"`` m * 2^L + 1.
        pooling: ``"average"`` or ``"blur"``, which aliases less: a smaller error at angles that
            are not quarter turns.
        residual: add to each block between equal widths its input.
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
    acting = parse_group(group)
    check_architecture(in_channels, representation_channels, widths, kernel_size, acting.field_size)
    of_image: tuple[Field, ...] = image_fields(in_channels, frequencies)
    options: dict[str, Any] = {"group": acting, "smooth": smooth, "generator": generator}

    def convolution(fields_in: int, fields_out: int, size: int) -> nn.Module:
        sources = (None,) * fields_in or of_image
        return SteerableConvolution(sources, None, fields_out, kernel_size=size, **options)

    def block(fields_in: int, fields_out: int) -> nn.Module:
        convolved = convolution(fields_in, fields_out, kernel_size)
        return nn.Sequential(convolved, *activation(fields_out, acting))

    def mix(fields_in: int, fields_out: int) -> nn.Module:
        return convolution(fields_in, fields_out, 1)

    last = (None,) * widths[0]
    head = SteerableConvolution(last, 0, representation_channels, kernel_size=1, **options)
    return UNet(
        block,
        mix,
        head,
        widths=widths,
        in_channels=in_channels,
        parity=parity,
        pooling=pooling,
        residual=residual,
    )


def image_fields(in_channels: int, frequencies: Sequence[int] | None) -> tuple[int, ...]:
    """The fields of an image, one frequency each, checked against its channels.

    Args:
        in_channels: of the image.
        frequencies: 0, 1 or 2 for each field; scalars alone if None.

    Returns:
        The frequencies.

    Raises:
        ValueError: there is no such frequency, or the fields have another number of channels.

    Example:
        >>> image_fields(3, (0, 1))
        (0, 1)
    """
    if frequencies is None:
        return (0,) * in_channels
    known = tuple(frequencies)
    if any(frequency not in (0, 1, 2) for frequency in known):
        raise ValueError(f"frequencies: expected 0, 1 or 2 each, got {known}.")
    if input_channels(known) != in_channels:
        raise ValueError(
            f"frequencies: expected fields of {in_channels} channels together (one a scalar, two "
            f"any other), got {known}, which take {input_channels(known)}."
        )
    return known
