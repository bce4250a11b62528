"""The names of e2cnn 0.2.3 over escnn, for code and checkpoints written for e2cnn.

e2cnn does not run on current torch and NumPy; escnn, its successor, does, under other names.
``install()`` lets a script written for e2cnn run unchanged; ``load_e2cnn_state_dict`` reads its
checkpoints, which loaded plainly give other kernels. What escnn cannot carry says why.

Source: Weiler and Cesa, General E(2)-equivariant steerable CNNs, NeurIPS 2019, arXiv 1911.08251.
"""

from typing import Any

from equicomir.e2cnn import group, gspaces, nn
from equicomir.e2cnn.absent import refuse
from equicomir.e2cnn.checkpoints import load_e2cnn_state_dict
from equicomir.e2cnn.installation import install

__all__ = ["group", "gspaces", "install", "load_e2cnn_state_dict", "nn"]


def __getattr__(name: str) -> Any:
    raise refuse("e2cnn", name)
