"""The names of ``e2cnn.nn.init``: first weights of a steerable convolution."""

from typing import Any

import torch
from torch import Tensor

from equicomir.e2cnn.absent import refuse
from equicomir.e2cnn.engine import escnn

__all__ = ["deltaorthonormal_init", "generalized_he_init"]


def generalized_he_init(tensor: Tensor, basisexpansion: Any, cache: bool = False) -> None:
    """Fill the weights by He's rule for steerable bases, in place.

    Args:
        tensor: weights of a convolution, (basis elements,).
        basisexpansion: that convolution's ``basisexpansion``.
        cache: keep the variances for the next layer of the kind.

    Source: Weiler, Hamprecht and Storath, CVPR 2018, arXiv 1711.07289.
    """
    with torch.no_grad():
        escnn.nn.init.generalized_he_init(tensor, basisexpansion, cache=cache)


def deltaorthonormal_init(tensor: Tensor, basisexpansion: Any) -> None:
    """Fill the weights so that the kernel is orthonormal at its centre and zero elsewhere.

    Args:
        tensor: weights of a convolution, (basis elements,).
        basisexpansion: that convolution's ``basisexpansion``.

    Source: Xiao et al., ICML 2018, arXiv 1806.05393.
    """
    with torch.no_grad():
        escnn.nn.init.deltaorthonormal_init(tensor, basisexpansion)


def __getattr__(name: str) -> Any:
    raise refuse("e2cnn.nn.init", name)
