"""``equicomir register`` of two folders: pair after pair, whatever becomes of each.

A night's work must not end at its third pair. Every pair has a folder of its own, a pair that
stands is not registered again, and a table and a page of thumbnails say what became of all.
"""

import csv
import html
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from equicomir.commands.options import Output
from equicomir.commands.page import PAGE
from equicomir.commands.page_pictures import (
    checkerboard,
    embedded,
    page_places,
    page_step,
    seen_at,
    stretched,
)
from equicomir.commands.registered import REGISTERED, RESULT
from equicomir.geometry import rotation_degrees
from equicomir.images.files import open_image
from equicomir.images.listing import list_folders
from equicomir.registration.alignment import Alignment
from equicomir.sealed import read_sealed

TABLE, INDEX = "pairs.csv", "index.html"
_THUMBNAIL = 280  # px, its longer side

#: Registers one pair of files into a folder of its own: what was found, and what was written of it.
One = Callable[[Path, Path, Path], tuple[Alignment, dict[str, Any]]]


@dataclass(frozen=True)
class Line:
    """What became of one pair.

    Attributes:
        name: of both files, without their endings.
        outcome: "refused" where a file was no image of its modality, or damaged.
        confidence: in [0, 1]; None where nothing was found.
        score: likewise.
        degrees: of the rotation, likewise.
        row: of the translation of the first pixel, likewise; in pixels of the fixed image.
        column: likewise.
        overlap: fraction of the fixed image that the moving one covers.
        said: why, where it is not trusted.
    """

    name: str
    outcome: Literal["trusted", "not trusted", "nothing found", "refused"]
    confidence: float | None = None
    score: float | None = None
    degrees: float | None = None
    row: float | None = None
    column: float | None = None
    overlap: float | None = None
    said: str = ""


def pairs_of(fixed: Path, moving: Path) -> list[tuple[str, Path, Path]]:
    """The pairs of two folders, by name, in order.

    Args:
        fixed: folder of fixed images.
        moving: folder of moving images.

    Returns:
        Name, fixed file and moving file of each.

    Raises:
        ValueError: a folder is missing or empty, or a file has no partner: it is named.
    """
    found = []
    for scene in list_folders([fixed, moving]):
        first, second = scene.files.values()
        found.append((scene.name, first, second))
    return found


def register_all(
    pairs: Sequence[tuple[str, Path, Path]], out: Path, one: One, output: Output
) -> list[Line]:
    """Register all pairs, go on whatever happens, and write the table and the page.

    Args:
        pairs: (name, fixed, moving).
        out: folder that gets a folder a pair; one with a result is not registered again.
        one: registers a pair.
        output: how the command speaks.

    Returns:
        A line a pair, in their order.

    Raises:
        OSError: the folder cannot be written.
    """
    lines, thumbnails = list[Line](), list[str]()
    with output.progress("pairs", len(pairs)) as advance:
        for name, fixed, moving in pairs:
            folder = out / name
            try:
                facts = _stands(folder)
                alignment = None
                if facts is None:
                    alignment, facts = one(fixed, moving, folder)
                lines.append(_line(name, alignment, facts))
                registered = folder / REGISTERED
                thumbnails.append(_thumbnail(fixed, registered) if registered.exists() else "")
            except ValueError as mistake:  # this pair's, not the next one's
                lines.append(Line(name, "refused", said=str(mistake)))
                thumbnails.append("")
            _write_table(out / TABLE, lines)  # after each: what is broken off has one too
            advance(1)
    (out / INDEX).write_text(_page(lines, thumbnails), encoding="utf-8")
    return lines


def _stands(folder: Path) -> dict[str, Any] | None:
    """What an earlier call wrote of a pair, if it did.

    Raises:
        ValueError: it is damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        facts = read_sealed(path)
        _of_facts(folder.name, facts)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: expected the result of a registration, got something else; remove its folder."
        ) from error
    return facts


def _line(name: str, alignment: Alignment | None, facts: dict[str, Any]) -> Line:
    if alignment is not None and alignment.failure:
        return Line(name, "nothing found", said=alignment.failure)
    return _of_facts(name, facts)


def _of_facts(name: str, facts: dict[str, Any]) -> Line:
    matrix = np.array(facts["moving_to_fixed"], dtype=np.float64)
    trusted = bool(facts["trusted"])
    return Line(
        name,
        "trusted" if trusted else "not trusted",
        round(float(facts["confidence"]), 4),
        round(float(facts["score"]), 4),
        round(rotation_degrees(matrix), 2),
        round(float(matrix[0, 2]), 2),
        round(float(matrix[1, 2]), 2),
        round(float(facts["overlap"]), 3),
        "" if trusted else f"look at {PAGE} before you use it",
    )


def _write_table(path: Path, lines: Sequence[Line]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


def _thumbnail(fixed: Path, registered: Path) -> str:
    """A small checkerboard of the fixed and the registered image, as an address for ``img``."""
    seen = []
    for path in (fixed, registered):
        pixels, mask = open_image(path).read_masked()
        size = (int(mask.shape[0]), int(mask.shape[1]))
        places, step = page_places(size, _THUMBNAIL), page_step(size, _THUMBNAIL)
        grey = pixels.mean(0, keepdim=True).numpy()
        seen.append(seen_at(grey, mask.numpy(), places, step))
    (first, inside), (second, _) = seen
    board = checkerboard(stretched(first, inside), stretched(second, inside), inside, 4)
    return embedded(board, inside)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem;
  padding: 0 1rem; color: #1c1c1c; }}
h1 {{ font-size: 1.4rem; }} p {{ max-width: 46rem; }}
ul {{ list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }}
li {{ border: 1px solid #ccc; border-top: .4rem solid #1f6e3a; padding: .6rem; min-width: 0; }}
li.doubt {{ border-top-color: #b8651b; }}
img {{ width: 100%; height: auto; display: block; background: #eee; }}
strong, span {{ display: block; overflow-wrap: anywhere; }} span {{ font-size: .92rem; }}
</style></head><body>
<h1>{title}</h1>
<p>Fixed in grey, moving, registered, in copper: what lies in both must go on unbroken from tile to
tile. All numbers stand in {table}.</p>
<ul>
{pairs}
</ul></body></html>
"""


def _page(lines: Sequence[Line], thumbnails: Sequence[str]) -> str:
    trusted = sum(line.outcome == "trusted" for line in lines)
    cards = []
    for line, thumbnail in zip(lines, thumbnails, strict=True):
        name, said = html.escape(line.name), [html.escape(line.outcome)]
        title = name
        if line.confidence is not None and line.degrees is not None:
            said[0] += f", confidence {line.confidence:.2f}"
            said.append(f"turned by {line.degrees:.1f} degrees")
            title = f'<a href="{name}/{PAGE}">{name}</a>'
        if line.said:
            said.append(html.escape(line.said))
        picture = f'<img src="{thumbnail}" alt="Checkerboard of {name}">' if thumbnail else ""
        kind = "" if line.outcome == "trusted" else ' class="doubt"'
        words = "".join(f"<span>{text}</span>" for text in said)
        cards.append(f"<li{kind}><strong>{title}</strong>{picture}{words}</li>")
    title = f"{trusted} of {len(lines)} pairs registered and trusted"
    return _PAGE.format(title=title, table=TABLE, pairs="\n".join(cards))
