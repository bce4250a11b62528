"""Imports only go down: the floors of the house, checked by parsing every file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    **dict.fromkeys(("shapes", "geometry", "responses", "filters", "differentials"), 0),
    **dict.fromkeys(("transforms", "provenance", "sealed"), 0),
    **dict.fromkeys(("images", "encoders", "e2cnn", "losses"), 1),
    **dict.fromkeys(("allowance", "representations", "windows", "tiles"), 2),
    **dict.fromkeys(("training", "registration"), 3),
    **dict.fromkeys(("evaluation", "properties", "gate", "registering"), 4),
    **dict.fromkeys(("cli", "__main__", "commands", "napari", "report", "experiment"), 5),
}
TOP = 5  # experiments, paper_figures, benchmarks
SIBLINGS = {1, 3}  # floors whose rooms do not know each other
STRANGERS = {  # lower floors that a room may not know all the same
    room: {"encoders", "representations", "windows", "tiles"}
    for room in ("registration", "evaluation", "properties", "gate")
}
FILES = sorted(
    p
    for folder in ("equicomir", "experiments", "paper_figures", "benchmarks")
    for p in (ROOT / folder).rglob("*.py")
)


def imported(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import of a file, wherever it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            # ``from equicomir import report`` names the room only in what is imported.
            inner = [f"{module}.{a.name}" for a in node.names] if module == "equicomir" else []
            found += [(node.lineno, name) for name in inner or [module]]
    return found


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "equicomir" and len(parts) > 1 else parts[0]


def broken_floors(path: Path, imports: list[tuple[int, str]]) -> list[str]:
    here = FLOORS.get(room(path), TOP)
    wrong = []
    for line, module in imports:
        parts = module.split(".")
        if parts[0] == "escnn" and room(path) not in ("encoders", "e2cnn"):
            wrong.append(f"{path}:{line}: imports escnn outside encoders/")
        if parts[0] != "equicomir" or len(parts) < 2:
            continue
        there = FLOORS[parts[1]]
        same_room = parts[1] == room(path)
        if parts[1] in STRANGERS.get(room(path), ()):
            wrong.append(f"{path}:{line}: {room(path)} imports {module}, which it must not know")
        elif there > here or (there == here and here in SIBLINGS and not same_room):
            wrong.append(f"{path}:{line}: floor {here} imports {module} of floor {there}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path):
    assert not broken_floors(path, imported(path))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("geometry", "equicomir.images.pairs"),
        ("images/pairs", "equicomir.encoders.steerable"),
        ("registration/search", "equicomir.training.loop"),
        ("losses/contrastive", "escnn.nn"),
        ("registration/search", "equicomir.representations"),
    ],
)
def test_a_broken_floor_is_seen(name, module):
    path = ROOT / "equicomir" / f"{name}.py"
    (line,) = broken_floors(path, [(7, module)])
    assert f"{path}:7" in line


def test_every_room_has_a_floor():
    rooms = {room(p) for p in FILES if p.is_relative_to(ROOT / "equicomir")} - {"__init__"}
    assert rooms <= FLOORS.keys()


def test_no_file_name_says_nothing():
    assert not {p.stem for p in FILES} & {"util", "utils", "helper", "helpers", "common", "misc"}
