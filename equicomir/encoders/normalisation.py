"""Normalisation by the statistics of a whole batch, also where several processes share it.

Torch has synchronised batch normalisation for GPUs alone. Here the means over all processes are
gathered, with their gradient, on any device: so that a batch gives the same gradients however
many processes it is divided over, in equal shares. With one process it is torch's own.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn


def processes() -> int:
    """How many processes train together.

    Example:
        >>> processes()
        1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of what all processes hold, with its gradient; with one process, the same tensor.

    Args:
        values: of one shape in every process.

    Returns:
        That shape.

    Example:
        >>> mean_over_processes(torch.tensor([1.0, 2.0]))  # of one process
        tensor([1., 2.])
    """
    if processes() == 1:
        return values
    from torch.distributed.nn import functional as differentiable  # not in every build of torch

    total: Tensor = differentiable.all_reduce(values)
    return total / processes()


def _shared(norm: nn.BatchNorm2d | nn.BatchNorm3d, x: Tensor) -> Tensor:
    """Batch normalisation in training, with statistics of all processes."""
    given, x = x.dtype, x.to(norm.weight.dtype)  # which autocast has made shorter
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = (1, -1, *(1 for _ in axes[1:]))
    mean = mean_over_processes(x.mean(axes))
    variance = mean_over_processes((x - mean.view(shape)).square().mean(axes))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    with torch.no_grad():
        count = x.numel() // x.shape[1] * processes()
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum or 0.1)
        norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum or 0.1)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return (x * scale.view(shape) + (norm.bias - mean * scale).view(shape)).to(given)


def _alone(norm: nn.Module) -> bool:
    return not norm.training or processes() == 1


class BatchNorm2d(nn.BatchNorm2d):
    """Torch's, with the statistics of all processes.

    Example:
        >>> BatchNorm2d(3)(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width)."""
        return super().forward(x) if _alone(self) else _shared(self, x)


class BatchNorm3d(nn.BatchNorm3d):
    """Torch's, with the statistics of all processes.

    Example:
        >>> BatchNorm3d(3)(torch.zeros(2, 3, 8, 4, 4)).shape
        torch.Size([2, 3, 8, 4, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, ...), three axes more."""
        return super().forward(x) if _alone(self) else _shared(self, x)
