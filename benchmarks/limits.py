"""What the machine could do at best: operations and bytes of an act, and how fast it does such.

Floating-point operations are those of convolutions and matrix products, as
:mod:`torch.utils.flop_counter` counts them, and of Fourier transforms (5 n log2 n, half of it
where one side is real); comparisons, sums and look-ups are left out, and whatever is not torch.
Bytes are those of every tensor that an operation reads or writes, each time, as if nothing stayed
in a cache. So the time that a machine needs at its best rates is a yardstick: what keeps its data
in the cache can be faster than its bytes, and nothing is faster than its operations.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


@dataclass
class Counts:
    """What an act asked for.

    Attributes:
        operations: of floating-point numbers.
        bytes: read and written.
    """

    operations: int = 0
    bytes: int = 0


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of the tensors that every operation reads and writes."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        # A view moves nothing, and what is only made room for is written by what comes next.
        if not (func.is_view or "empty" in func.__name__):
            leaves = tree_leaves((args, kwargs, made))
            self.counts.bytes += sum(_bytes(t) for t in leaves if isinstance(t, Tensor))
        return made


def _bytes(tensor: Tensor) -> int:
    """Of its own elements, once where it is one value seen as many."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _transform(shape: Shape, axes: Sequence[int], each: float) -> int:
    """Operations of a Fourier transform over some axes of a shape."""
    return round(each * math.prod(shape) * sum(math.log2(shape[axis]) for axis in axes))


def _of_complex(shape: Shape, axes: Sequence[int], *_: Any, **__: Any) -> int:
    return _transform(shape, axes, 5.0)


def _from_real(shape: Shape, axes: Sequence[int], *_: Any, **__: Any) -> int:
    return _transform(shape, axes, 2.5)


def _to_real(shape: Shape, axes: Sequence[int], *_: Any, out_shape: Any, **__: Any) -> int:
    return _transform(out_shape, axes, 2.5)


_TRANSFORMS = {
    torch.ops.aten._fft_c2c: _of_complex,
    torch.ops.aten._fft_r2c: _from_real,
    torch.ops.aten._fft_c2r: _to_real,
}


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what is done inside the block, backward passes included.

    Returns:
        The counts, which are complete when the block has ended.

    Example:
        >>> with counted() as counts:
        ...     product = torch.ones(2, 3) @ torch.ones(3, 4)
        >>> counts.operations  # a product and a sum for each of 2 x 3 x 4
        48
    """
    counts = Counts()
    flops = FlopCounterMode(display=False, custom_mapping=_TRANSFORMS)
    with _Traffic(counts), flops:
        yield counts
    counts.operations = int(flops.get_total_flops())


def rates(side: int = 1024, mebibytes: int = 128) -> dict[str, float]:
    """What this machine does in a second, at its best of a few tries.

    Args:
        side: of the square matrices that are multiplied; the images that are convolved have a
            quarter of it.
        mebibytes: copied from one place of memory to another; more than a cache holds.

    Returns:
        ``product`` and ``convolution``, in operations a second of float32; ``copy``, in bytes
        read or written a second.
    """
    a = torch.ones(side, side)
    images, kernel = torch.ones(4, 16, side // 4, side // 4), torch.ones(16, 16, 5, 5)
    here = torch.ones(mebibytes * 2**18)
    there = torch.empty_like(here)
    acts: dict[str, tuple[Callable[[], object], float]] = {
        "product": (lambda: a @ a, 2 * side**3),
        "convolution": (
            lambda: torch.nn.functional.conv2d(images, kernel, padding=2),
            2 * images.numel() * 16 * 25,
        ),
        "copy": (lambda: there.copy_(here), 2 * here.numel() * 4),
    }
    with torch.inference_mode():
        return {name: amount / _best(act) for name, (act, amount) in acts.items()}


def _best(act: Callable[[], object], tries: int = 4) -> float:
    """Least seconds; the first try builds caches."""
    seconds = []
    for _ in range(tries):
        begun = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])
