"""Records: one JSON line a result, with everything needed to repeat it, and never a run twice.

Experiments take hours on machines that are switched off, and several processes share their runs.
So a line is written whole or not at all, what a killed process left half written is seen, and a
run is claimed by a lock that the system itself takes back when the process dies. Every line is
sealed (:mod:`equicomir.sealed`), so that another digit in it is seen; older ones, without a seal,
are read as they are.
"""

import fcntl
import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from equicomir.evaluation import pair_columns
from equicomir.evaluation.alignment import SUCCESS_FRACTION, Outcome
from equicomir.provenance import machine, versions
from equicomir.sealed import sealed, unsealed
from equicomir.shapes import Array

#: One line of a file of records, as JSON gives it back.
Record = dict[str, Any]

# Facts that are tables, many lines with the same names: written by columns.
_TABLES = ("pairs", "gate")


def run_key(settings: Mapping[str, Any]) -> str:
    """Name a run by what defines it: equal settings, equal key, on any machine and in any order.

    Args:
        settings: JSON values: method, width, seed, data, and whatever else changes the result.

    Returns:
        32 hexadecimal digits. Tuples count as lists and 5.0 as 5, as JSON does not keep
        them apart.

    Raises:
        TypeError: something is no JSON value.
        ValueError: a number is not finite.

    Example:
        >>> run_key({"seed": 0, "minutes": 5}) == run_key({"minutes": 5.0, "seed": 0})
        True
    """
    plain = _each(json.loads(_json("settings", settings)), _whole)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name}: expected JSON values (texts, finite numbers, lists, mappings by text), got: "
            f"{error}; convert it first."
        ) from error


def _each(value: Any, change: Callable[[float], float]) -> Any:
    """JSON values with every float changed, at any depth."""
    if isinstance(value, Mapping):
        return {name: _each(inner, change) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_each(inner, change) for inner in value]
    return change(value) if isinstance(value, float) else value


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _shortened(value: float) -> float:
    """Six digits: what follows says nothing, and fills the files."""
    return float(f"{value:.6g}")


def append(
    path: Path,
    outcomes: Sequence[Outcome],
    *,
    settings: Mapping[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Add one line: the facts of a run (JSON values) and what became of every pair.

    Any number of processes may do so at once. A process killed in the middle leaves at most the
    beginning of a line, which the next one takes away, with a warning.

    Args:
        path: made with its folder if it does not exist.
        outcomes: of one method over the list.
        settings: what defines the run, if it is to be found by :func:`done`.
        facts: method, seeds, data (a fingerprint), seconds, ...; of what the gate said, ``gate``, a
            mapping a claim, all of the same names. Of numbers that are not whole six digits are
            kept.

    Raises:
        TypeError, ValueError: a fact is no JSON value; or the last line of the file is damaged.
        OSError: the file cannot be written; it is as it was before.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "records.jsonl"
        >>> append(path, [], settings={"seed": 0}, method="search", loss=2 / 3)
        >>> [(record["method"], record["loss"]) for record in read(path)]
        [('search', 0.666667)]
    """
    pairs = [
        {
            **asdict(outcome.pair),
            # JSON has no infinity: a failed pair has no error at all.
            "corner_error": round(outcome.corner_error, 4)
            if not outcome.failure and math.isfinite(outcome.corner_error)
            else None,
            "seconds": round(outcome.seconds, 4),
            "failure": outcome.failure,
        }
        for outcome in outcomes
    ]
    defined = {} if settings is None else {"key": run_key(settings), "settings": settings}
    record = {
        **defined,
        **_each(facts, _shortened),
        "versions": versions(),
        "machine": machine(),
        "pairs": pairs,
    }
    _json("facts", record)  # refuses what is none
    for name in record.keys() & set(_TABLES):
        record[name] = pair_columns.columns(record[name])
    line = json.dumps(sealed(record), separators=(",", ":")).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_line(path, line)


def _write_line(path: Path, line: bytes) -> None:
    """Under a lock, after taking away what a killed process left."""
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = _whole_lines(path, file)
        try:
            if file.write(line) != len(line):
                raise OSError(f"{path}: expected room for a record, got a full disk; make room.")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _whole_lines(path: Path, file: Any) -> int:
    """Make a file end with a whole line; its length then."""
    size = int(file.seek(0, os.SEEK_END))
    file.seek(max(0, size - 1))
    if not size or file.read(1) == b"\n":
        return size
    file.seek(0)
    content = file.read()
    last = content[content.rfind(b"\n") + 1 :]
    if _parsed(last) is not None:  # only its end is missing: a record closes with its last brace
        file.write(b"\n")
        return size + 1
    if _parsed(last[:-1]) is not None:  # whole, so no killed process left it like that
        raise ValueError(
            f"{path}: expected the last line to end with its record, got {last[-1:]!r} behind it; "
            f"restore it."
        )
    warnings.warn(f"{path}: took away a last line that was half written.", stacklevel=4)
    file.truncate(size - len(last))
    return size - len(last)


def _parsed(line: bytes) -> Record | None:
    with suppress(ValueError):  # JSON's and Unicode's errors, and those of a seal
        return _of_line(line)
    return None


def _of_line(line: bytes) -> Record:
    record = unsealed(line)
    for name in _TABLES:
        if isinstance(record.get(name), dict):
            record[name] = pair_columns.lines(record[name])
    return record


def read(path: Path) -> list[Record]:
    """Read all records; a last line that was half written is left out, with a warning.

    Args:
        path: need not exist yet.

    Raises:
        ValueError: a line is no record, or another than was written; file and line are named.

    Example:
        >>> read(Path("no such file"))
        []
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # nobody is in the middle of a line
            *lines, torn = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_of_line(line))
        except ValueError as error:
            reason = " ".join(str(error).split())[:160].rstrip(".")
            raise ValueError(
                f"{path}: expected a record in line {number}, got something else ({reason}); "
                f"restore it, or remove the line to have its run done again."
            ) from error
    if torn:  # whoever was killed in the middle of a line did not write its end
        number, last = len(lines) + 1, _parsed(torn)
        if last is not None:
            found.append(last)
        else:
            warnings.warn(
                f"{path}: line {number} was half written and is left out; its run is not done.",
                stacklevel=2,
            )
    return found


def done(path: Path) -> dict[str, Record]:
    """The runs that stand in a file of records, by :func:`run_key`.

    Args:
        path: need not exist yet. Records that were written without settings have no key and are
            left out.

    Raises:
        ValueError: the file is damaged, or a run stands in it twice.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "records.jsonl"
        >>> append(path, [], settings={"seed": 0})
        >>> list(done(path)) == [run_key({"seed": 0})]
        True
    """
    found: dict[str, Record] = {}
    for record in read(path):
        key = record.get("key")
        if key in found:
            raise ValueError(f"{path}: expected every run once, got {key} twice; remove one.")
        if key is not None:
            found[key] = record
    return found


_held: set[int] = set()  # descriptors of the claims of this process


def _let_go() -> None:
    """A forked child shares its parent's locks, and would keep them after its death."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def claim(path: Path, key: str) -> Iterator[bool]:
    """Claim a run for this process: true if nobody else has it and it is not done.

    The claim ends with the block, or with the process, however it dies.

    Args:
        path: of the records, in whose folder the locks lie while runs go on.
        key: of :func:`run_key`.

    Returns:
        A context manager, which gives whether the run is this process's.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "records.jsonl"
        >>> with claim(path, "a") as mine, claim(path, "a") as second:
        ...     mine, second
        (True, False)
    """
    lock = path.with_name(f".{path.name}.{key}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(lock)
    if descriptor is None:
        yield False
        return
    _held.add(descriptor)
    try:
        yield key not in done(path)
    finally:
        if descriptor in _held:  # not in a forked child
            _held.remove(descriptor)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _locked(lock: Path) -> int | None:
    """The descriptor of a lock that this process now has, or None if another has it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)  # of a file that its last holder removed after it was opened here


def successes(runs: Sequence[Record], *, fraction: float = SUCCESS_FRACTION) -> Array:
    """Which pairs succeeded in which run, for :func:`equicomir.evaluation.statistics.difference`.

    Args:
        runs: one a training seed, on one list of pairs; those of two methods together, to be
            sure that both were given the same.
        fraction: greatest corner error that is a success, as a fraction of the width.

    Returns:
        1 or 0, (runs, pairs), in the order given.

    Raises:
        ValueError: there is no run or no pair, or the runs were not given the same pairs.

    Example:
        >>> pair = {"scene": "a", "row": 3, "width": 100}
        >>> near, lost = {**pair, "corner_error": 1.5}, {**pair, "corner_error": None}
        >>> successes([{"pairs": [near, near]}, {"pairs": [near, lost]}]).tolist()
        [[1.0, 1.0], [1.0, 0.0]]
    """
    results = {"corner_error", "seconds", "failure"}
    lists = [
        [{k: v for k, v in pair.items() if k not in results} for pair in run["pairs"]]
        for run in runs
    ]
    if not lists or not lists[0]:
        raise ValueError("runs: expected at least one, with at least one pair, got none.")
    for number, pairs in enumerate(lists):
        if pairs != lists[0]:
            raise ValueError(
                f"runs: expected the same list of pairs in all, got another in run {number}; "
                f"compare runs of one list."
            )
    return np.array(
        [
            [
                pair["corner_error"] is not None
                and pair["corner_error"] <= fraction * pair["width"]
                for pair in run["pairs"]
            ]
            for run in runs
        ],
        dtype=np.float64,
    )
