"""A fault as a change of one file of the package, and those that people make."""

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutants.faults import FAULTS

ROOT = Path(__file__).parent.parent
ROOMS = {
    "filters": ("filters.py", "responses.py"),
    "geometry": ("geometry.py",),
    "losses": ("losses/*.py",),
    "encoders": ("encoders/*.py",),
    "properties": ("properties.py",),
    "registration": ("registration/*.py",),
    "evaluation": ("evaluation/*.py",),
}


@dataclass(frozen=True)
class Change:
    """One fault: a file of the package with one place changed.

    Attributes:
        name: of a known fault, or of the operator that made it.
        room: where it stands.
        file: from the root.
        line: of the first line that differs.
        before, after: that line.
        source: the whole file, changed.
        known: whether made by hand.
    """

    name: str
    room: str
    file: str
    line: int
    before: str
    after: str
    source: str
    known: bool

    @property
    def statement(self) -> str:
        """The changed function, class or constant, without its docstrings: what is judged."""
        both = [_statements((ROOT / self.file).read_text()), _statements(self.source)]
        return str(next(a for b, a in zip(*both, strict=True) if b != a))

    @property
    def settings(self) -> dict[str, Any]:
        """What tells it from every other change of any version."""
        digest = hashlib.sha256(f"{self.file}\n{self.statement}".encode()).hexdigest()
        names = ("name", "room", "file", "line", "before", "after", "known")
        return {name: getattr(self, name) for name in names} | {"sha256": digest}


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _statements(source: str) -> list[str]:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and len(body) > 1 and _is_text(body[0]):
            del body[0]
    return [ast.dump(statement) for statement in tree.body]


def files_of(room: str) -> list[Path]:
    """The files of a room of the package."""
    return sorted(path for name in ROOMS[room] for path in (ROOT / "equicomir").glob(name))


def change_of(name: str, room: str, path: Path, after: str, *, known: bool) -> Change:
    """A change from the whole text of the changed file."""
    before = path.read_text()
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    line, (old, new) = next((n, both) for n, both in enumerate(lines, 1) if both[0] != both[1])
    file = path.relative_to(ROOT).as_posix()
    return Change(name, room, file, line, old.strip(), new.strip(), after, known)


def known(rooms: Sequence[str] = tuple(ROOMS)) -> list[Change]:
    """The faults of known_faults.py."""
    found = []
    for fault in FAULTS:
        path = ROOT / "equicomir" / fault.file
        source = path.read_text()
        if source.count(fault.old) != 1:
            raise ValueError(
                f"known_faults.py, {fault.name!r}: expected {fault.old!r} once in {fault.file}, "
                f"found it {source.count(fault.old)} times; say the fault anew."
            )
        room = next(room for room in ROOMS if path in files_of(room))
        source = source.replace(fault.old, fault.new)
        found.append(change_of(fault.name, room, path, source, known=True))
    return [fault for fault in found if fault.room in rooms]
