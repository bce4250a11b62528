"""Checkpoints written by e2cnn, read into networks over escnn.

Both libraries store a steerable kernel as weights of a basis, under the same names and in the
same shapes; but their bases differ in order, in sign and, where a space of kernels has several
dimensions, by a rotation. Weights loaded as they are therefore give another kernel, with no
error. The checkpoint holds e2cnn's basis beside the weights, so the kernel itself is known, and
the weights that give it in escnn's basis are a least-squares problem of each pair of fields.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from equicomir.e2cnn.engine import escnn

LARGEST_RESIDUAL = 1e-5
_CONVOLUTIONS = (escnn.nn.R2Conv, escnn.nn.R2ConvTransposed)
_EXPANDED = ("filter", "expanded_bias")  # what a convolution in eval mode computes for itself


class _Block(NamedTuple):
    """The weights and the basis of one pair of representations in a convolution."""

    key: str  # of its basis in a checkpoint
    first: int  # its weights begin here
    pairs: int  # of fields of these representations
    basis: Tensor | None  # (basis elements, size out, size in, points)

    @property
    def last(self) -> int:
        return self.first + self.pairs * (0 if self.basis is None else len(self.basis))


def load_e2cnn_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, float]:
    """Give ``model`` the weights and statistics of the same network in e2cnn 0.2.3.

    The model computes what e2cnn computed, to the precision of float32, in train and in eval
    mode, at once. Only the model's own weights, biases and statistics are written, after all of
    them were found: a refused checkpoint leaves the model as it was, and the bases that escnn
    shares among all layers of the process are never touched.

    Args:
        model: built by the script that built e2cnn's network, over ``equicomir.e2cnn``.
        state: its ``state_dict()`` from e2cnn, of train or eval mode, complete with bases.

    Returns:
        The relative residual of each block of kernels, by the key of its basis.

    Raises:
        ValueError: a key is missing or left over, a shape disagrees, or a kernel of the
            checkpoint is no combination of escnn's basis (relative residual above 1e-5).

    Example:
        The checkpoint of an e2cnn network whose basis is that of escnn, reversed.

        >>> from equicomir.e2cnn import gspaces
        >>> space = gspaces.Rot2dOnR2(4)
        >>> image = space.type(space.trivial_repr)
        >>> layer = escnn.nn.R2Conv(image, image, 3, bias=False)
        >>> state = {k: v.clone() for k, v in layer.state_dict().items()}
        >>> basis = [k for k in state if k.endswith("sampled_basis")][0]
        >>> state[basis] = state[basis].flip(0)
        >>> residuals = load_e2cnn_state_dict(layer, state)
        >>> torch.allclose(layer.weights, state["weights"].flip(0), atol=1e-6)
        True
    """
    unused = set(state)
    found: list[tuple[Tensor, Tensor]] = []
    residuals: dict[str, float] = {}
    solved: set[str] = set()
    # One layer may stand under several names, and each is a name in the checkpoint.
    everything = model.named_modules(remove_duplicate=False)
    convolutions = {name: m for name, m in everything if isinstance(m, _CONVOLUTIONS)}
    for name, layer in convolutions.items():
        prefix = f"{name}." if name else ""
        weights = _solve_kernel(layer, prefix, state, residuals)
        _check_order(layer, prefix, state, weights)
        found.append((layer.weights, weights))
        solved |= {f"{prefix}{tail}" for tail in ("weights", *_EXPANDED)}
        if layer.bias is not None:
            found.append((layer.bias, _solve_bias(layer, prefix, state, residuals)))
            solved |= {f"{prefix}bias", f"{prefix}bias_expansion"}
        solved |= {k for k in (*state, *model.state_dict()) if k.startswith(f"{prefix}_basis")}
    others = _find_others(model, state, solved)
    found += others.values()
    unused -= solved | others.keys()
    if unused:
        raise ValueError(
            f"state: expected the keys of this model, got {min(unused)!r} besides; "
            "build the model with the script that wrote the checkpoint."
        )
    _write([pair for pair in found if _is_learnt(pair[0])], convolutions)
    return residuals


def _find_others(
    model: nn.Module, state: Mapping[str, Tensor], solved: set[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """(a tensor of the model, the checkpoint's value) by key, for all that is not solved for."""
    found = {}
    for key, target in model.state_dict(keep_vars=True).items():
        if key in solved:
            continue
        if key.endswith("sampled_basis"):
            raise ValueError(
                "model: expected R2Conv and R2ConvTransposed as its only steerable layers, "
                f"got another at {key!r}, which e2cnn had not; load that part by itself."
            )
        found[key] = target, _agreeing(key, target, state)
    return found


def _write(found: list[tuple[Tensor, Tensor]], convolutions: Mapping[str, Any]) -> None:
    with torch.no_grad():
        for target, value in found:
            target.copy_(value)
        for layer in convolutions.values():
            if not layer.training:
                # In eval mode the expanded kernel is kept, and made on the way there only.
                layer.train()
                layer.eval()


def _get(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise ValueError(
            f"state: expected a complete state_dict() of e2cnn, got none of {key!r}; "
            "save it again with all its keys, or build the model as the checkpoint's was."
        )
    return state[key].detach().cpu()


def _is_learnt(target: Tensor) -> bool:
    """Whether a tensor comes from training, not from the order of the channels.

    Only counters of batches are learnt whole numbers, and only they have no axis.
    """
    return target.is_floating_point() or target.ndim == 0


def _agreeing(key: str, target: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """A tensor of the checkpoint in the model's shape (escnn dropped axes of length one)."""
    value = _get(state, key)
    if [n for n in value.shape if n != 1] != [n for n in target.shape if n != 1]:
        raise ValueError(
            f"state: expected {key!r} of shape {tuple(target.shape)}, got {tuple(value.shape)}; "
            "build the model with the script that wrote the checkpoint."
        )
    value = value.reshape(target.shape)
    if not _is_learnt(target) and not torch.equal(value, target.detach().cpu()):
        raise ValueError(
            f"state: expected the channels of {key!r} in the model's order, got another; "
            "build the model with its fields in the checkpoint's order."
        )
    return value


def _blocks(layer: Any, prefix: str, state: Mapping[str, Tensor] | None) -> Iterator[_Block]:
    """The blocks of a convolution in order of their weights: escnn's, or a checkpoint's."""
    expand = layer.basisexpansion
    begin = f"{prefix}_basisexpansion.block_expansion_"
    shapes = {
        (i.name, o.name): (o.size, i.size) for i in expand._in_reprs for o in expand._out_reprs
    }
    first = 0
    for pair in sorted(shapes):
        key = f"{begin}{pair}.sampled_basis"
        if state is None:
            block = getattr(expand, f"block_expansion_{expand._escape_pair(pair)}", None)
            basis = None if block is None else block.sampled_basis.detach().cpu()
        else:
            basis = state[key].detach().cpu() if key in state else None
            expected = (*shapes[pair], expand.S)
            if basis is not None and tuple(basis.shape[1:]) != expected:
                raise ValueError(
                    f"state: expected {key!r} of shape (any, {', '.join(map(str, expected))}), "
                    f"got {tuple(basis.shape)}; build the model as the checkpoint's was."
                )
        pairs = expand._in_count[pair[0]] * expand._out_count[pair[1]]
        block_found = _Block(key, first, pairs, basis)
        yield block_found
        first = block_found.last


def _solve_kernel(
    layer: Any, prefix: str, state: Mapping[str, Tensor], residuals: dict[str, float]
) -> Tensor:
    """The layer's weights that give the checkpoint's kernel."""
    weights = _get(state, f"{prefix}weights")
    ours, theirs = list(_blocks(layer, prefix, None)), list(_blocks(layer, prefix, state))
    if theirs[-1].last != weights.numel():
        lacking = next((b.key for b in theirs if b.basis is None), None)
        raise ValueError(
            f"state: expected {prefix + 'weights'!r} of shape ({theirs[-1].last},), as its bases "
            f"ask, got {tuple(weights.shape)}; "
            + (f"the basis {lacking!r} is missing." if lacking else "it is of another model.")
        )
    solved = torch.zeros(layer.weights.shape, dtype=torch.float64)
    for our, their in zip(ours, theirs, strict=True):
        if their.basis is None:
            continue  # e2cnn had no kernel between these fields: ours stays zero
        coefficients = weights[their.first : their.last].reshape(their.pairs, -1).double()
        kernels = coefficients @ their.basis.flatten(1).double()
        basis = kernels.new_zeros(0, kernels.shape[1]) if our.basis is None else our.basis
        values, residual = combination(basis.flatten(1), kernels)
        _check(their.key, residual)
        residuals[their.key] = residual
        solved[our.first : our.last] = values.flatten()
    return solved


def _check_order(layer: Any, prefix: str, state: Mapping[str, Tensor], weights: Tensor) -> None:
    """Refuse fields in another order, where the checkpoint shows it.

    It does where fields of one kind do not stand together, and in eval mode, by the kernel.
    """
    own = {f"{prefix}{k}": v for k, v in layer.state_dict().items() if "_indices_" in k}
    of_layer = {k: v for k, v in state.items() if k.startswith(f"{prefix}_basis")}
    theirs = {k: v for k, v in of_layer.items() if "_indices_" in k}
    agree = own.keys() == theirs.keys()
    agree = agree and all(torch.equal(v.cpu(), theirs[k].cpu()) for k, v in own.items())
    kept = state.get(f"{prefix}filter")
    if agree and kept is not None and kept.any():  # zero until the first call of eval()
        with torch.no_grad():
            kernel = layer.basisexpansion(weights.to(layer.weights)).cpu().double()
        turned = isinstance(layer, escnn.nn.R2ConvTransposed)
        kept = (kept.transpose(0, 1) if turned else kept).flatten(2).cpu().double()
        agree = kept.shape == kernel.shape and bool((kernel - kept).norm() < 1e-4 * kept.norm())
    if not agree:
        raise ValueError(
            f"state: expected the fields of {prefix + 'weights'!r} in the model's order, got "
            "another; build the layer with its fields in the checkpoint's order."
        )


def _solve_bias(
    layer: Any, prefix: str, state: Mapping[str, Tensor], residuals: dict[str, float]
) -> Tensor:
    """The layer's bias that expands to the checkpoint's expanded one."""
    key = f"{prefix}bias"
    bias = _agreeing(key, layer.bias, state).double()
    expansion = _agreeing(f"{key}_expansion", layer.bias_expansion, state).double()
    own = layer.bias_expansion.detach().cpu().T
    values, residual = combination(own, (expansion @ bias)[None])
    _check(key, residual)
    residuals[key] = residual
    return values[0]


def combination(basis: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    """Coefficients of the targets in a basis by least squares, and what they miss.

    Args:
        basis: (basis elements, values).
        targets: (targets, values).

    Returns:
        (targets, basis elements) in float64, and the norm of what is missed over the norm of
        the targets (0 if they are zero, nan if a value is not finite).

    Example:
        >>> basis = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
        >>> combination(basis, torch.tensor([[3.0, 4.0, 0.0]]))
        (tensor([[2., 3.]], dtype=torch.float64), 0.0)
    """
    matrix, wanted = basis.double().numpy(), targets.double().numpy()
    if not (np.isfinite(matrix).all() and np.isfinite(wanted).all()):
        return targets.new_zeros(len(targets), len(basis)).double(), float("nan")
    # Directions weaker than float32 resolves are rounding, not kernels.
    values = np.linalg.lstsq(matrix.T, wanted.T, rcond=1e-6)[0].T
    norm = float(np.linalg.norm(wanted))
    missed = float(np.linalg.norm(values @ matrix - wanted))
    return torch.from_numpy(values), missed / norm if norm else 0.0


def _check(key: str, residual: float) -> None:
    if not residual <= LARGEST_RESIDUAL:
        raise ValueError(
            f"state: expected the kernels of {key!r} to be combinations of escnn's basis up to "
            f"{LARGEST_RESIDUAL:g}, got a relative residual of {residual:.2e}; build the layer "
            "with the checkpoint's kernel_size, rings, sigma and frequencies_cutoff."
        )
