"""The page of all that was tried: what was killed, by what, and why the rest survives."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equicomir.evaluation.records import Record

REASONS = Path(__file__).parent / "survivors.toml"


def killed(line: Record) -> bool:
    """Whether any test failed."""
    return any(line.get(f"killed_by_{kind}") for kind in ("properties", "others"))


def by_properties(line: Record) -> bool:
    """Whether a property test failed."""
    return bool(line.get("killed_by_properties"))


def line_of(line: Record) -> str:
    """One change and what became of it, in a line."""
    of = line["settings"]
    by = line.get("killed_by_properties") or line.get("killed_by_others") or "nothing"
    change = of["name"] if of["known"] else f"{of['before']}  ->  {of['after']}"
    return f"{of['file']}:{of['line']}: {change}: {by}"


def reasons() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Why changes survive: by file, the line as it is and as it was changed."""
    listed = tomllib.loads(REASONS.read_text())["survivor"]
    return {(one["file"], one["before"], one["after"]): one for one in listed}


def reason_of(line: Record, known: dict[tuple[str, str, str], dict[str, Any]]) -> dict[str, Any]:
    """Of one survivor; empty where none is known."""
    of = line["settings"]
    return known.get((of["file"], of["before"], of["after"]), {})


def is_equivalent(line: Record, known: dict[tuple[str, str, str], dict[str, Any]]) -> bool:
    """Whether no input can show the change."""
    return bool(reason_of(line, known).get("equivalent"))


def page(lines: Sequence[Record], seed: int) -> str:
    """The page for the docs.

    Args:
        lines: of all changes that were tried.
        seed: of the draw.
    """
    known = reasons()
    machine = [line for line in lines if not line["settings"]["known"]]
    by_hand = [line for line in lines if line["settings"]["known"]]
    words = f"""# Does the suite catch wrong mathematics?

Made by `make mutants` (folder `mutants`). A fault is planted in a copy of the package, and the
tests that run the changed line are asked, properties (those of `tests/properties`, and all others
whose cases Hypothesis draws) before all others, each kind for a minute by its usual time, the
fastest first. {len(machine)} faults are Cosmic Ray's, drawn with seed {seed}; {len(by_hand)} are
known ones, of `mutants/faults.py`. A change that no input can show is *equivalent*, and not counted
in the rates; each such judgement stands below, with its reason.
"""
    survived = [line for line in lines if not killed(line)]
    parts = (_table(machine, known), _known_faults(by_hand), _survivors(survived, known))
    return "\n".join([words, *("\n".join(part) + "\n" for part in parts)])


def _table(lines: Sequence[Record], known: dict[tuple[str, str, str], dict[str, Any]]) -> list[str]:
    rooms = list(dict.fromkeys(line["settings"]["room"] for line in lines))
    rows = [
        "| room | drawn | equivalent | killed by the suite | by the property tests alone |",
        "| --- | --- | --- | --- | --- |",
    ]
    for room in [*rooms, "**all**"]:
        of = [line for line in lines if room in (line["settings"]["room"], "**all**")]
        alike = [x for x in of if not killed(x) and is_equivalent(x, known)]
        real = len(of) - len(alike)
        counts = [sum(map(test, of)) for test in (killed, by_properties)]
        shares = [f"{n} ({100 * n / max(1, real):.0f} %)" for n in counts]
        rows.append(f"| {room} | {len(of)} | {len(alike)} | {shares[0]} | {shares[1]} |")
    return rows


def _known_faults(lines: Sequence[Record]) -> list[str]:
    rows = ["| known fault | file | killed by |", "| --- | --- | --- |"]
    for line in lines:
        of = line["settings"]
        by = line.get("killed_by_properties") or line.get("killed_by_others")
        rows.append(f"| {of['name']} | `{of['file']}` | {f'`{by}`' if by else '**nothing**'} |")
    return rows


def _survivors(
    lines: Sequence[Record], known: dict[tuple[str, str, str], dict[str, Any]]
) -> list[str]:
    if not lines:
        return ["No fault survived."]
    rows = ["## Survivors", "", "| where | change | why it survives |", "| --- | --- | --- |"]
    for line in lines:
        of, reason = line["settings"], reason_of(line, known)
        change = f"`{of['before']}` → `{of['after']}`".replace("|", "\\|")
        said = reason.get("reason", "**not explained**")
        kind = "equivalent: " if is_equivalent(line, known) else ""
        rows.append(f"| `{of['file']}`, {of['line']} | {change} | {kind}{said} |")
    return rows
