"""What the tests that run a changed line say of the change, in a copy of the repository."""

import ast
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mutants.changes import ROOT, Change

_MEMORY_BYTES = 10 * 2**30


def lines_of(source: str, line: int) -> range:
    """The lines of the smallest statement around a line; of a compound one its head alone."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(source)):  # outer ones first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            if line <= max(last, node.lineno):
                found = range(node.lineno, max(last, node.lineno) + 1)
    return found


def tests_of(reach: dict[str, Any], change: Change) -> list[int]:
    """The places of the tests that run the changed line, the fastest first.

    A line that no test runs by itself (a constant of a module) belongs to all tests of its file.
    """
    lines = reach["lines"].get(change.file, {})
    span = lines_of((ROOT / change.file).read_text(), change.line)
    which = {place for line in span for place in lines.get(str(line), [])}
    which = which or {place for there in lines.values() for place in there}
    return sorted(which, key=lambda place: reach["tests"][place][1])


def within(tests: list[tuple[str, float]], most_seconds: float) -> list[str]:
    """As many of the tests, in their order, as usually end in the given time; at least one."""
    spent = list(accumulate(seconds for _, seconds in tests))
    return [name for (name, _), by in zip(tests, spent, strict=True) if by <= most_seconds] or [
        name for name, _ in tests[:1]
    ]


def failing(tree: Path, tests: list[str], limit_seconds: float) -> str | None:
    """The test that fails first in a copy of the repository, or what else went wrong; else None."""
    names = tree / "tests_to_run.txt"
    names.write_text("\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-x", "--tb=no", "-rfE", f"@{names}"]
    running = subprocess.Popen(
        command,
        cwd=tree,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    resource.prlimit(running.pid, resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        said, _ = running.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        return "it does not end"
    if running.returncode == 0:
        return None
    for line in said.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" - ")[0].split(" ", 1)[1]
    return {2: "it cannot be imported", 4: "its tests cannot be collected"}.get(
        running.returncode, f"pytest ended with {running.returncode}"
    )


def tried(change: Change, tree: Path, reach: dict[str, Any], most_seconds: float) -> dict[str, Any]:
    """What kills a change: of the property tests, and only where none does, of all others."""
    path = tree / change.file
    original, written = path.read_text(), path.stat().st_mtime_ns
    result: dict[str, Any] = {"settings": change.settings}
    reaching = [reach["tests"][place] for place in tests_of(reach, change)]
    for kind, properties in (("properties", True), ("others", False)):
        of_kind = [(name, seconds) for name, seconds, drawn in reaching if drawn == properties]
        tests = within(of_kind, most_seconds)
        result[f"{kind}_tests"] = len(tests)
        path.write_text(change.source)
        try:
            by = failing(tree, tests, 60 + 10 * most_seconds) if tests else None
        finally:
            path.write_text(original)
            os.utime(path, ns=(written, written))  # its bytecode stays good
        result[f"killed_by_{kind}"] = by
        if by is not None:
            break
    return result


def copied(folder: Path) -> Path:
    """A copy of the working tree, with the data beside it where there are any."""
    tree = folder / "tree"
    listed = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, capture_output=True, check=True, text=True).stdout.split(
        "\0"
    ):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return tree


def reached(folder: Path) -> dict[str, Any]:
    """Which tests run which lines; kept in ``folder`` until the package or a test changes."""
    every = sorted([*(ROOT / "equicomir").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in every)).hexdigest()
    kept = folder / f"reach_{digest[:12]}.json"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command, part = (
            [sys.executable, "-m", "pytest", "-p", "mutants.reach"],
            kept.with_suffix(""),
        )
        subprocess.run(command, cwd=ROOT, env=os.environ | {"REACH": str(part)}, check=True)
        part.rename(kept)
    return dict(json.loads(kept.read_text()))


def results_of(
    changes: list[Change], reach: dict[str, Any], processes: int, most_seconds: float
) -> Iterator[dict[str, Any]]:
    """Try every change, some at a time, each in a copy of its own."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(processes) as pool:
        free: SimpleQueue[Path] = SimpleQueue()
        for number in range(processes):
            free.put(copied(Path(folder) / str(number)))

        def one(change: Change) -> dict[str, Any]:
            tree = free.get()
            try:
                return tried(change, tree, reach, most_seconds)
            finally:
                free.put(tree)

        yield from pool.map(one, changes)
