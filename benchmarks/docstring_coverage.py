"""Which public functions and classes say what of themselves, by room of the library.

    python benchmarks/docstring_coverage.py [--missing]

prints, by room, how many public functions and classes there are, and how many lack a docstring,
Args, Returns, Raises, or an Example or Source; with ``--missing`` also each of them by name. The
rule is CONTRIBUTING.md's, :func:`lacking` applies it, and ``tests/test_docstrings.py`` asks that
nothing is missing.
"""

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
#: Rooms whose functions and classes show an Example or name a Source.
SHOWN = {"filters", "geometry", "losses", "encoders", "registration", "evaluation"}
ENTRIES = ("docstring", "Args", "Returns", "Raises", "Example or Source")
_USERS_MISTAKES = ("TypeError", "ValueError")
_NOTHING = {"None", "NoReturn", "Never"}
#: Says that arguments are another's, who tells them: "as :func:`...`", "those of R2Conv".
_ANOTHERS = re.compile(r"\b([Aa]s|[Tt]hose of) (:\w+:`|R2Conv)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Public(NamedTuple):
    """A public function, method or class, where it stands.

    Attributes:
        room: folder or file of the library.
        name: with its module and class.
        node: its definition.
        method: whether it stands in a class.
    """

    room: str
    name: str
    node: Function | ast.ClassDef
    method: bool


def public(path: Path, library: Path) -> Iterator[Public]:
    """Everything in a file that may be called from outside it.

    Args:
        path: of the file.
        library: the folder of the package.
    """
    parts = path.relative_to(library).with_suffix("").parts
    module = ".".join(parts).removesuffix(".__init__")
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield Public(parts[0], f"{module}.{node.name}", node, False)
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(inner, Function) and not inner.name.startswith("_"):
                yield Public(parts[0], f"{module}.{node.name}.{inner.name}", inner, True)


def lacking(of: Public) -> list[str]:
    """Which of :data:`ENTRIES` a function or class lacks.

    Args:
        of: as :func:`public` gives it.

    Example:
        >>> (node,) = ast.parse('def f(a: int, b: int) -> int: return a + b').body
        >>> lacking(Public("shapes", "f", node, False))
        ['docstring']
        >>> (node,) = ast.parse('def f(a, b, c) -> int: "Their sum."; return a + b + c').body
        >>> lacking(Public("shapes", "f", node, False))
        ['Args', 'Returns']
    """
    said = ast.get_docstring(of.node)
    if said is None:
        return ["docstring"]
    parameters = named(of.node)
    sections = _sections(said)
    under = sections.get("Args", "") + sections.get("Attributes", "")
    wrong = []
    formula = len(parameters) == 2 and _is_one_statement(of.node)
    told = len(parameters) < 2 or formula or _ANOTHERS.search(said) is not None
    if not told or "Args" in sections:
        lost = [p for p in parameters if not re.search(rf"^\s*(\w+, )*\*{{0,2}}{p}\b", under, re.M)]
        wrong += ["Args"] if lost else []
    if isinstance(of.node, Function):
        answers = of.node.returns is not None and ast.unparse(of.node.returns) not in _NOTHING
        if answers and not told and not {"Returns", "Yields"} & set(sections):
            wrong.append("Returns")
    if any(kind not in sections.get("Raises", "") for kind in raised(of.node)):
        wrong.append("Raises")
    shows = of.room in SHOWN and not of.method and not _is_data(of.node)
    if shows and not {"Example", "Source"} & set(sections):
        wrong.append("Example or Source")
    return wrong


def _is_one_statement(node: Function | ast.ClassDef) -> bool:
    """Whether a function is but a formula under its docstring."""
    return isinstance(node, Function) and len(node.body) < 3


def named(node: Function | ast.ClassDef) -> list[str]:
    """Parameters that a docstring must name: of a class, its constructor's or its fields.

    Args:
        node: definition of a function or class.
    """
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return named(made[0]) if made else _fields(node)
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [star for star in (arguments.vararg, arguments.kwarg) if star]
    return [a.arg for a in every if a.arg not in ("self", "cls") and not a.arg.startswith("_")]


def _is_data(node: Function | ast.ClassDef) -> bool:
    """Whether it is a dataclass or a named tuple."""
    if not isinstance(node, ast.ClassDef):
        return False
    written = [ast.unparse(of) for of in (*node.decorator_list, *node.bases)]
    return any("dataclass" in word or "NamedTuple" in word for word in written)


def _fields(node: ast.ClassDef) -> list[str]:
    if not _is_data(node):
        return []
    targets = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def raised(node: Function | ast.ClassDef) -> list[str]:
    """Which mistakes of users the body itself raises; of a class, its constructor's.

    Args:
        node: definition of a function or class.
    """
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if isinstance(n, ast.FunctionDef)]
        made = [n for n in made if n.name in ("__init__", "__post_init__")]
        return [k for n in made for k in raised(n) if k not in (ast.get_docstring(n) or "")]
    made_of = [n.exc for n in ast.walk(node) if isinstance(n, ast.Raise)]
    calls = [n.func for n in made_of if isinstance(n, ast.Call)]
    kinds = {call.id for call in calls if isinstance(call, ast.Name)}
    return [kind for kind in _USERS_MISTAKES if kind in kinds]


def _sections(said: str) -> dict[str, str]:
    """What stands under each heading of a docstring."""
    pieces = re.split(r"^(Args|Attributes|Returns|Yields|Raises|Example|Source):", said, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def everything(library: Path = ROOT / "equicomir") -> list[tuple[Public, list[str]]]:
    """Every public function and class of the library, and what each lacks.

    Args:
        library: the folder of the package.
    """
    files = sorted(library.rglob("*.py"))
    return [(of, lacking(of)) for path in files for of in public(path, library)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--missing", action="store_true", help="name each that lacks something")
    chosen = parser.parse_args()
    found = everything()
    table = Table(title="Public functions, methods and classes, and how many lack what")
    for heading in ("room", "public", *ENTRIES):
        table.add_column(heading, justify="left" if heading == "room" else "right")
    rooms = Counter(of.room for of, _ in found)
    lost = Counter((of.room, entry) for of, wrong in found for entry in wrong)
    for room, count in sorted(rooms.items()):
        table.add_row(room, str(count), *(str(lost[room, entry]) for entry in ENTRIES))
    sums = (sum(lost[room, entry] for room in rooms) for entry in ENTRIES)
    table.add_row("all", str(len(found)), *map(str, sums), style="bold")
    Console(width=100).print(table)
    if chosen.missing:
        for of, wrong in found:
            if wrong:
                print(f"{of.name}: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
