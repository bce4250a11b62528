"""Checkpoints: what a run needs to go on, in one file that is either whole or not there.

A checkpoint is written beside the last one, forced to the disk and then renamed over it, and the
last but one is kept: at any moment one whole file is there, even where the last one is damaged. It
holds tensors, and plain facts as JSON, and can run no code; a checksum over all of it tells damage.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from equicomir.sealed import remove_unfinished, write_whole

LAST, BEFORE = "checkpoint.safetensors", "checkpoint.before.safetensors"
NEXT = "checkpoint.next.safetensors"  # whole, and about to be the last
ALL = (NEXT, LAST, BEFORE)  # the newest first


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        folder: where; made if it is not there.
        tensors: by name.
        facts: JSON values.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the checkpoints that were
            there still are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    told = json.dumps(facts)
    metadata = {"facts": told, "checksum": _checksum(whole, told)}
    content = safetensors.torch.save(whole, metadata)
    # The last one goes aside only when the next is whole on the disk, and by a rename.
    write_whole(folder / NEXT, content)
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder / LAST, folder / BEFORE)
    os.replace(folder / NEXT, folder / LAST)


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], str] | None:
    """Read the last whole checkpoint.

    Args:
        folder: where.

    Returns:
        Tensors, facts, and in one sentence what was wrong with a later one, else empty; None
        where there is no checkpoint.

    Raises:
        ValueError: there are checkpoints, and all of them are damaged.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_checkpoint(folder, {"x": torch.ones(2)}, {"step": 3})
        >>> read_checkpoint(folder)
        ({'x': tensor([1., 1.])}, {'step': 3}, '')
    """
    said = ""
    for name in ALL:
        path = folder / name
        if not path.exists():
            continue
        try:
            content = path.read_bytes()
            tensors = safetensors.torch.load(content)
            with safetensors.safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
            if metadata["checksum"] != _checksum(tensors, metadata["facts"]):
                raise ValueError("its checksum is another")
            facts = json.loads(metadata["facts"])
            if not isinstance(facts, dict):
                raise ValueError(f"{type(facts).__name__} in place of its facts")
            return tensors, facts, said
        except (
            OSError,
            ValueError,
            KeyError,
            RecursionError,
            safetensors.SafetensorError,
        ) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            said = f"{path}: expected a whole checkpoint, got: {reason}; the one before is used."
    if said:
        raise ValueError(
            said.replace("the one before is used", "there is no whole one; remove it to start anew")
        )
    return None


def tidy(folder: Path) -> None:
    """Remove what killed processes had begun to write, of a folder that is this process's now."""
    for name in ALL:
        remove_unfinished(folder / name)


def _checksum(tensors: Mapping[str, Tensor], facts: str) -> str:
    total = hashlib.blake2b(facts.encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())  # NumPy lacks bfloat16
    return total.hexdigest()


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first of the facts of two runs that differs, for a person; empty if none does.

    Args:
        old: as it came back from JSON.
        new: likewise nested; tuples count as the lists that JSON makes of them.

    Returns:
        The name of the fact, with both its values.

    Example:
        >>> difference({"training": {"seed": 0}}, {"training": {"seed": 1}})
        'seed (0, not 1)'
        >>> difference({"widths": [1, 2]}, {"widths": (1, 2)})
        ''
    """
    told = json.loads(json.dumps(new))
    for name in sorted({*old, *told}):
        before, now = old.get(name), told.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            if inner := difference(before, now):
                return inner
        elif before != now:
            return f"{name} ({before!r}, not {now!r})"
    return ""
