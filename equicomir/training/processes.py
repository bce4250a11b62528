"""Several processes that share a batch: each encodes its part, all see all representations."""

import torch
import torch.distributed as dist

from equicomir.shapes import Stack


def from_all_processes(representations: Stack) -> Stack:
    """The representations of all processes, with their gradient: every scene's negatives.

    Args:
        representations: of this process, (modalities, batch, channels, height, width), of one
            shape in all.

    Returns:
        (modalities, processes x batch, channels, height, width), the same in all; with one
        process the same tensor.

    Example:
        >>> alone = torch.rand(2, 3, 1, 4, 4)
        >>> from_all_processes(alone) is alone
        True
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return representations
    from torch.distributed.nn import functional as differentiable  # not in every build of torch

    return torch.cat(differentiable.all_gather(representations.contiguous()), dim=1)
