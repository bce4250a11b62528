"""Docstrings as they are meant: plain text, in which a bar is a bar.

reStructuredText takes ``|x|`` for a substitution and ``*size`` for the start of emphasis, which
nobody here means; and Napoleon takes what stands before a colon, under "Returns:" or in the
comment of a constant, for a type, where here it is the first half of a sentence (types stand in
the signature). They are put right before a page is made, and the type of an attribute is set
beside its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the rules below are tested where Sphinx need not be
    from sphinx.application import Sphinx

_LITERAL = re.compile(r"(``.+?``|`.+?`)")
_SPECIAL = re.compile(r"\||\*(?=\w+\))")
_TAKEN_FOR_TYPE = re.compile(r"^(:returns: )\*?(.+?)\*? -- ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Ask to see every docstring, after Napoleon has, and every member."""
    app.connect("autodoc-process-docstring", as_written, priority=900)
    app.connect("autodoc-skip-member", skipped)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def as_written(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Mend the lines of a docstring in place."""
    if what in ("data", "attribute") and ":type: " in "\n".join(lines):
        where = next(i for i, line in enumerate(lines) if line.startswith(":type: "))
        lines[0] = f"{lines[where].removeprefix(':type: ')}: {lines[0]}"
        del lines[where]
    lines[:] = mended(with_types_beside_names(lines))


def with_types_beside_names(lines: list[str]) -> list[str]:
    """The lines, with the type of each attribute as an option of its directive."""
    placed: list[str] = []
    attribute = -1
    for line in lines:
        if line.startswith(".. attribute:: "):
            attribute = len(placed)
        if attribute >= 0 and line.startswith("   :type: "):
            placed.insert(attribute + 1, line)
        else:
            placed.append(line)
    return placed


def mended(lines: list[str]) -> Iterator[str]:
    """The lines, with bars that are bars and sentences that are whole; examples as they are."""
    example = False
    for line in lines:
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if example or line.startswith("   :type: "):
            yield line
            continue
        parts = _LITERAL.split(_TAKEN_FOR_TYPE.sub(r"\1\2: ", line))
        yield "".join(p if p.startswith("`") else _SPECIAL.sub(r"\\\g<0>", p) for p in parts)


def skipped(
    app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Whether a member is left out: fields of named tuples are told by their class's docstring."""
    return True if type(obj).__name__ == "_tuplegetter" else None
