"""Any encoder as a network of ordinary convolutions, and from there to torch.export and ONNX.

Kernels are expanded once and normalisations are folded into the convolutions before them; a
Fourier nonlinearity becomes two pointwise convolutions with an ELU between. What is left costs
what a plain network of the same channels costs, and knows nothing of groups.
"""

import copy
import logging
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equicomir.encoders.encoder import Encoder
from equicomir.encoders.roto_translation import RotoTranslationConvolution
from equicomir.encoders.steerable import FourierActivation, SteerableConvolution
from equicomir.encoders.unet import FieldNormalisation
from equicomir.shapes import Images


class Ordinary(nn.Module):
    """An encoder without its checks, made of ordinary layers; always in eval mode.

    Args:
        encoder: is copied, and left as it is.

    Example:
        >>> from equicomir.encoders.steerable import steerable
        >>> encoder = steerable(widths=(1, 1), generator=torch.Generator().manual_seed(0)).eval()
        >>> x = torch.rand(1, 1, 16, 16)
        >>> torch.allclose(Ordinary(encoder)(x), encoder(x), atol=1e-5)
        True
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        network = copy.deepcopy(encoder).eval()
        with torch.no_grad():
            _replace_layers(network)
        self.network = network.requires_grad_(False)

    def forward(self, images: Images) -> Images:
        """(batch, in_channels, height, width) of a valid size to the representation."""
        return self.network.represent(images)


def _replace_layers(module: nn.Module) -> None:
    """Put ordinary layers in the place of steerable ones, wherever they are."""
    for name, child in list(module.named_children()):
        if isinstance(child, SteerableConvolution | RotoTranslationConvolution):
            setattr(module, name, _convolution(child))
        elif isinstance(child, FourierActivation):
            setattr(module, name, _sampled(child))
        else:
            _replace_layers(child)
    if isinstance(module, nn.Sequential):
        _fold_normalisations(module)


def _convolution(layer: SteerableConvolution | RotoTranslationConvolution) -> nn.Conv2d:
    """The convolution with the expanded kernel."""
    kernel = layer.kernel()
    bias = getattr(layer, "bias", None)
    ordinary = _empty_convolution(kernel, bias is not None, padding_mode="replicate")
    ordinary.weight.copy_(kernel)
    if bias is not None and ordinary.bias is not None:
        ordinary.bias.copy_(bias)
    return ordinary


def _empty_convolution(
    kernel: Tensor, bias: bool, *, groups: int = 1, padding_mode: Any = "zeros"
) -> nn.Conv2d:
    """A convolution that a kernel (channels out, channels in a group, k, k) fits into."""
    channels_out, channels_in, size, _ = kernel.shape
    return nn.Conv2d(
        channels_in * groups,
        channels_out,
        size,
        padding=size // 2,
        padding_mode=padding_mode if size > 1 else "zeros",
        bias=bias,
        groups=groups,
        dtype=kernel.dtype,
        device=kernel.device,
    )


def _sampled(layer: FourierActivation) -> nn.Sequential:
    """Normalise and read at the samples, ELU, and back to coefficients."""
    matrix, fields = layer.matrix, layer.fields
    scale = layer.weight * torch.rsqrt(layer.running_var + layer.eps)
    shift = layer.bias - layer.running_mean * scale
    to_values = (scale[:, None, None] * matrix).flatten(0, 1)[..., None, None]
    to_coefficients = (matrix.T / len(matrix)).repeat(fields, 1)[..., None, None]
    into = _empty_convolution(to_values, True, groups=fields)
    into.weight.copy_(to_values)
    assert into.bias is not None
    into.bias.copy_(shift.repeat_interleave(len(matrix)))
    back = _empty_convolution(to_coefficients, False, groups=fields)
    back.weight.copy_(to_coefficients)
    return nn.Sequential(into, nn.ELU(), back)


def _fold_normalisations(layers: nn.Sequential) -> None:
    """Fold every normalisation that follows a convolution into it."""
    for index, (before, layer) in enumerate(pairwise(list(layers)), start=1):
        folds = isinstance(layer, FieldNormalisation | nn.BatchNorm2d)
        if not (folds and isinstance(before, nn.Conv2d)):
            continue
        norm: Any = layer.norm if isinstance(layer, FieldNormalisation) else layer
        times = layer.field_size if isinstance(layer, FieldNormalisation) else 1
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        scale, shift = scale.repeat_interleave(times), shift.repeat_interleave(times)
        if before.bias is not None:
            shift = shift + before.bias * scale
        before.weight.mul_(scale[:, None, None, None])
        before.bias = nn.Parameter(shift)
        layers[index] = nn.Identity()


def export_program(encoder: Encoder) -> torch.export.ExportedProgram:
    """An encoder as a graph of PyTorch operators, for any batch and any valid size.

    Args:
        encoder: is left as it is.

    Returns:
        The exported program; its ``module()`` is called with images.

    Example:
        >>> from equicomir.encoders.steerable import steerable
        >>> encoder = steerable(widths=(1, 1), generator=torch.Generator().manual_seed(0)).eval()
        >>> program, x = export_program(encoder).module(), torch.rand(1, 1, 16, 30)
        >>> torch.allclose(program(x), encoder(x), atol=1e-5)
        True
    """
    ordinary = Ordinary(encoder)
    images, shapes = _dynamic_images(encoder)
    # Without this, sizes at which some resolution is one pixel wide would be refused.
    with torch.fx.experimental._config.patch(  # type: ignore[attr-defined]
        backed_size_oblivious=True
    ):
        return torch.export.export(ordinary, (images,), dynamic_shapes=(shapes,))


def write_onnx(encoder: Encoder, path: Path) -> None:
    """Write an encoder as ONNX: input ``images``, output ``representation``, any valid size.

    Args:
        encoder: is left as it is.
        path: of the file; its folder exists.

    Raises:
        ImportError: onnx and onnxscript are not installed.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from equicomir.encoders.plain import plain
        >>> encoder = plain(widths=(1, 1), generator=torch.Generator().manual_seed(0)).eval()
        >>> path = Path(tempfile.mkdtemp()) / "encoder.onnx"
        >>> write_onnx(encoder, path)
        >>> path.stat().st_size > 1000
        True
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as missing:
        raise ImportError(
            "export: expected the packages onnx and onnxscript, found none; "
            'say: pip install "equicomir[export]".'
        ) from missing
    program = export_program(encoder)
    quiet = logging.getLogger("torch.onnx")  # it warns of torchvision, which nothing here uses
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # of torch's own use of what it deprecates
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            written = torch.onnx.export(
                program,
                input_names=["images"],
                output_names=["representation"],
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    assert written is not None
    written.save(path)


def _dynamic_images(encoder: Encoder) -> tuple[Tensor, dict[int, Any]]:
    """Images to trace with, and which of their axes may vary how."""
    multiple, offset = encoder.size_multiple, encoder.size_offset
    least = max(2, -(-(encoder.least_size - offset) // multiple))
    dtype = next(encoder.parameters()).dtype
    sizes = [multiple * (least + more) + offset for more in (1, 2)]
    images = torch.zeros(2, encoder.in_channels, *sizes, dtype=dtype)
    shapes: dict[int, Any] = {0: torch.export.Dim("batch")}
    for axis, name in ((2, "height"), (3, "width")):
        if multiple == 1 and not offset:
            shapes[axis] = torch.export.Dim(name)
        else:
            shapes[axis] = multiple * torch.export.Dim(f"{name}_blocks") + offset
    return images, shapes
