"""One method on one set at one width, in a process of its own: what it finds, and what it takes.

A process of its own, so that the peak of memory is that of one method, and so that a package that
ends its process takes no other with it. A method that learns is trained by another process before.
"""

import json
import multiprocessing
import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import peer_sets
import torch
from joblib.externals.loky import get_reusable_executor
from peer_list import BY_NAME, Peer, does_not_run, grey, set_up

from equicomir.evaluation import records
from equicomir.evaluation.alignment import Method, attempt
from equicomir.evaluation.validation import register_by
from equicomir.experiment.work import identity
from equicomir.provenance import commit
from equicomir.representations import load
from equicomir.training.loop import train
from equicomir.training.settings import TrainingSettings

#: By how many threads everything computes: variables that are read where a process begins.
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "LP_NUM_THREADS",  # Mesa's software Vulkan
)


@dataclass(frozen=True)
class Cell:
    """What one process measures.

    Attributes:
        method: name of a peer.
        set: name of a set.
        width: of its pairs, in pixels.
        levels: of displacement, in the order in which they are measured.
        pairs: a level and direction.
        records: file to which each level is added.
        models: folder of the models of all sets.
        minutes: of training, of each encoder.
        data: folder of the sets of the protocol.
        quick: tiny phantoms, a few steps of training.
        threads: by which each method computes.
        own_path: folder of code that is no package.
    """

    method: str
    set: str
    width: int
    levels: tuple[str, ...]
    pairs: int
    records: Path
    models: Path
    minutes: float
    data: Path | None = None
    quick: bool = False
    threads: int = 1
    own_path: Path | None = None

    @property
    def peer(self) -> Peer:
        """The method."""
        return BY_NAME[self.method]

    @property
    def model(self) -> Path:
        """Folder of what it learned."""
        return self.models / self.set / self.method

    def training(self) -> TrainingSettings | None:
        """How it is trained, if it learns."""
        if self.peer.learned is None:
            return None
        one = peer_sets.read(self.set, self.data, self.quick).data_set
        told = replace(self.peer.learned[1], minutes=self.minutes, curves=one.curves)
        return replace(told, steps=2, patch_size=64, batch=2) if self.quick else told

    def settings(self, level: str) -> dict[str, Any]:
        """What defines a record, so that it is not made twice."""
        one, training = peer_sets.read(self.set, self.data, self.quick), self.training()
        learned = self.peer.learned
        return {
            "benchmark": "peers",
            "method": self.method,
            "words": self.peer.words,
            "versions": set_up(self.peer)["packages"],
            "set": self.set,
            "modalities": one.data_set.modalities,
            "data": one.data,
            "width": self.width,
            "level": level,
            "pairs": self.pairs,
            "threads": self.threads,
            "encoder": None if learned is None else asdict(learned[0]),
            "training": None if training is None else asdict(training),
        }


def open_levels(cell: Cell) -> Cell:
    """The cell with those of its levels that are not in the records."""
    stands = records.done(cell.records)
    left = [level for level in cell.levels if records.run_key(cell.settings(level)) not in stands]
    return replace(cell, levels=tuple(left))


def learn(cell: Cell) -> None:
    """Train what the cell's method learns, and keep the model."""
    settings = cell.training()
    parts = peer_sets.read(cell.set, cell.data, cell.quick).parts
    if settings is None or parts is None or cell.peer.learned is None:
        return
    label = f"{cell.set}, {cell.method}"
    train(parts.train, cell.peer.learned[0], settings, folder=cell.model, label=label)


def stands(cell: Cell) -> bool:
    """Whether its model is there.

    Raises:
        ValueError: it was trained for other minutes.
    """
    told = cell.model / "settings.json"
    if not told.exists():
        return False
    minutes = json.loads(told.read_text())["training"]["minutes"]
    if minutes != cell.minutes and not cell.quick:
        raise ValueError(
            f"--minutes: expected {minutes:g}, as the model in {cell.model} was given, got "
            f"{cell.minutes:g}; say so, or choose another folder by --models."
        )
    return True


def measure(cell: Cell) -> None:
    """Register the pairs of every level, and add a record for each."""
    torch.set_num_threads(cell.threads)
    peer = cell.peer
    one = peer_sets.read(cell.set, cell.data, cell.quick)
    reason = does_not_run(peer, cell.width)
    if reason:
        say_missing(cell, reason)
        print(f"  {reason}", flush=True)
        return
    method = _method(cell)
    if peer.learned is not None:  # its first call builds what later ones find ready
        for pair, cut in peer_sets.patches(one, cell.width, cell.levels[0], 1):
            attempt(method, pair, cut)
    for level in cell.levels:
        outcomes, core_seconds = [], 0.0
        for pair, cut in peer_sets.patches(one, cell.width, level, cell.pairs):
            before = usage()[1]
            outcomes.append(attempt(method, pair, cut))
            core_seconds += usage()[1] - before
        if outcomes:
            records.append(
                cell.records,
                outcomes,
                settings=cell.settings(level),
                core_seconds=round(core_seconds / len(outcomes), 4),
                peak_mib=round(usage()[0]),
                set_up=set_up(peer, cell.own_path),
                trained=_trained(cell),
                commit=commit(),
            )
    if multiprocessing.active_children():
        # Those of joblib would wait five minutes for more to do, and this process for them.
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)


def say_missing(cell: Cell, reason: str) -> None:
    """Add to the records that a method could not be asked, once; it is asked again next time."""
    facts: dict[str, Any] = {"method": cell.method, "set": cell.set, "width": cell.width}
    facts["missing"] = reason
    known = (record for record in records.read(cell.records) if "missing" in record)
    if not any(facts.items() <= record.items() for record in known):
        records.append(cell.records, [], **facts)


def _method(cell: Cell) -> Method:
    if cell.peer.learned is not None:
        return partial(register_by, load(cell.model).comparable)
    if cell.peer.register is None:
        return identity
    return partial(register_by, grey, register=cell.peer.register)


def _trained(cell: Cell) -> Mapping[str, float] | None:
    if cell.peer.learned is None:
        return None
    told = json.loads((cell.model / "settings.json").read_text())
    return {
        "minutes": told["training"]["minutes"],
        "steps": told["training"]["steps"],
        "seconds": round(told["seconds"], 1),
    }


def usage() -> tuple[float, float]:
    """Peak of memory, in MiB, and processor seconds, of this process and those it has started.

    The memory is the sum of their peaks; that of a GPU is not in it. Where there is no ``/proc``,
    it is this process alone.

    Example:
        >>> before = usage()
        >>> filled = bytearray(2**26)
        >>> usage()[0] >= before[0] > 0
        True
    """
    own = resource.getrusage(resource.RUSAGE_SELF)
    seconds = own.ru_utime + own.ru_stime
    if not Path("/proc/self/status").exists():
        return own.ru_maxrss / 1024, seconds
    peak, ticks = 0.0, 0
    for process in _processes(Path("/proc/self")):
        try:
            lines = (process / "status").read_text().splitlines()
            spent = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        peak += sum(float(x.split()[1]) / 1024 for x in lines if x.startswith("VmHWM:"))
        if process.name != "self":
            ticks += int(spent[11]) + int(spent[12])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime
    return peak, seconds + started


def _processes(process: Path) -> Iterator[Path]:
    """A process and all that descend from it."""
    yield process
    for task in process.glob("task/*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _processes(Path("/proc") / child)
