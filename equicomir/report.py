"""What a person looks at: the table in the terminal, pictures, and one self-contained page."""

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from equicomir.evaluation.alignment import Outcome, Summary, summarise
from equicomir.gate import Verdict
from equicomir.shapes import Array, ArrayMask

_SIZE = (7.0, 3.6)  # inches, of every picture, so that they tile
_FIXED_COLOURS, _MOVING_COLOURS = "gray", "copper"


@dataclass(frozen=True)
class Row:
    """One line of the table: a method, and its summary at each level.

    Attributes:
        method: as a reader names it.
        input: what it was given: raw images, or representations.
        summaries: one a level, in the table's order; None where it was not run.
    """

    method: str
    input: str
    summaries: list[Summary | None]


def rows_of(
    outcomes: Sequence[tuple[str, str, Sequence[Outcome]]], levels: Sequence[str]
) -> list[Row]:
    """Summarise (method, input, outcomes) by level.

    Args:
        outcomes: method, input in words, and the outcomes of its pairs.
        levels: a summary each.

    Returns:
        One row a method.
    """
    rows = []
    for method, given, all_outcomes in outcomes:
        by_level = [[o for o in all_outcomes if o.pair.level == level] for level in levels]
        rows.append(Row(method, given, [summarise(o) if o else None for o in by_level]))
    return rows


def _cells(summary: Summary | None) -> list[str]:
    """Success with its interval, success each way, corner error, pairs."""
    if summary is None:
        return ["not run", "", "", ""]
    s = summary
    return [
        f"{100 * s.success:.0f} % ({100 * s.low:.0f} to {100 * s.high:.0f})",
        ", ".join(f"{100 * rate:.0f}" for rate in s.each_way),
        "-" if math.isnan(s.median_error) else f"{s.median_error:.2f}",
        str(s.pairs),
    ]


def _seconds(summaries: Sequence[Summary | None]) -> str:
    return f"{np.median([s.seconds for s in summaries if s] or [math.nan]):.2f}"


def _table(rows: Sequence[Row], levels: Sequence[str]) -> list[list[str]]:
    """Headings and lines, all levels beside each other."""
    headings = ["method", "given"]
    for level in levels:
        headings += [f"success, level {level}", "each way, %", "error, px", "pairs"]
    lines = [
        [
            row.method,
            row.input,
            *chain.from_iterable(map(_cells, row.summaries)),
            _seconds(row.summaries),
        ]
        for row in rows
    ]
    return [[*headings, "s a pair"], *lines]


def terminal_tables(title: str, rows: Sequence[Row], levels: Sequence[str]) -> list[Table]:
    """The table of methods for a terminal of 80 columns: one a level, below each other.

    Args:
        title: of each.
        rows: one a method.
        levels: one table each.

    Returns:
        Tables for :mod:`rich`.
    """
    tables = []
    for index, level in enumerate(levels):
        table = Table(
            title=f"{title}, level {level}",
            title_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        table.add_column("method", no_wrap=True)
        for heading in ("success (95 %)", "each way", "error, px", "pairs", "s a pair"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            one = row.summaries[index]
            table.add_row(row.method, *_cells(one), _seconds([one]))
        tables.append(table)
    return tables


def markdown_table(rows: Sequence[Row], levels: Sequence[str]) -> str:
    """The same table in Markdown.

    Args:
        rows: one a method.
        levels: as in the rows.

    Returns:
        The lines of the table.
    """
    headings, *lines = _table(rows, levels)
    lines = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _stretch(image: Array, mask: ArrayMask | None = None) -> Array:
    """The mean of the channels between its 1st and 99th percentiles, 0 to 1, for the eye."""
    grey = image.mean(axis=0)
    low, high = np.percentile(grey if mask is None else grey[mask], [1, 99])
    return np.asarray(np.clip((grey - low) / max(high - low, 1e-12), 0, 1))


def _figure(path: Path, panels: Sequence[tuple[str, Array]]) -> None:
    """Save panels side by side: grey (height, width) or colour (height, width, 3)."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    for axes, (title, picture) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True
    ):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def side_by_side(
    path: Path, titles: tuple[str, str], images: tuple[Array, Array], *, about_median: bool = False
) -> None:
    """Two images (channels, height, width) beside each other.

    Args:
        path: PNG to write.
        titles: one an image.
        images: likewise.
        about_median: show the median as middle grey: for representations, whose level means
            nothing, so that what deviates from it looks alike in both.
    """
    shown = _around_median if about_median else _stretch
    _figure(path, list(zip(titles, map(shown, images), strict=True)))


def _around_median(image: Array) -> Array:
    """The mean of the channels, 0 to 1, with the median at one half."""
    grey = image.mean(axis=0)
    deviation = grey - np.median(grey)
    reach = np.percentile(np.abs(deviation), 98)
    return np.asarray(np.clip(0.5 + deviation / max(2 * reach, 1e-12), 0, 1))


def checkerboards(
    path: Path,
    fixed: Array,
    before: tuple[Array, ArrayMask],
    after: tuple[Array, ArrayMask],
    tiles: int = 6,
) -> None:
    """Fixed (grey) and moving (copper) in alternating tiles, before and after registration.

    Args:
        path: PNG to write.
        fixed: (channels, height, width).
        before: the moving image on the fixed grid, unregistered, and where it is defined.
        after: likewise, registered.
        tiles: along each side.
    """
    height, width = fixed.shape[1:]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    take_moving = ((rows * tiles // height + columns * tiles // width) % 2).astype(bool)
    grey = matplotlib.colormaps[_FIXED_COLOURS](_stretch(fixed))[..., :3]
    panels = []
    for title, (image, mask) in (("before", before), ("after", after)):
        copper = matplotlib.colormaps[_MOVING_COLOURS](_stretch(image, mask))[..., :3]
        use = (take_moving & mask)[..., None]
        panels.append((f"{title} (grey: fixed, copper: moving)", np.where(use, copper, grey)))
    _figure(path, panels)


def score_curve(
    path: Path, score_by_angle: Sequence[tuple[float, float]], true_degrees: float
) -> None:
    """Best score at each rotation tried, with the true angle.

    Args:
        path: of the picture that is written.
        score_by_angle: pairs of degrees and score.
        true_degrees: the angle that is right.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    # The circle is cut opposite the true angle, so that its neighbourhood is in one piece.
    degrees = np.array([(a - true_degrees + 180) % 360 - 180 for a, _ in score_by_angle])
    order = np.argsort(degrees)
    scores = np.array([score for _, score in score_by_angle])
    axes.plot(degrees[order], scores[order], color="#1f4e79", linewidth=1.2)
    axes.axvline(0, color="#b8651b", linewidth=1, linestyle="--", label="true rotation")
    axes.set_xlabel("rotation tried, degrees from the true one")
    axes.set_ylabel("normalised cross-correlation")
    axes.set_xlim(-180, 180)
    axes.set_xticks(range(-180, 181, 60))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(path, dpi=110)


def overview(path: Path, pictures: Sequence[Path]) -> None:
    """Four pictures of one size as one, two by two.

    Args:
        path: of the picture that is written.
        pictures: four files.
    """
    from skimage import io

    first, second, third, fourth = (io.imread(p)[..., :3] for p in pictures)
    io.imsave(path, np.vstack([np.hstack([first, second]), np.hstack([third, fourth])]))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto;
  padding: 0 1rem; color: #1c1c1c; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr));
  gap: 1rem; }}
figure {{ margin: 0; }} img {{ width: 100%; height: auto; }} figcaption {{ color: #555; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; font-size: .92rem; }}
th, td {{ padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }}
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) {{ text-align: left; }}
code {{ background: #f3f3f3; padding: .1rem .3rem; overflow-wrap: anywhere; }}
</style></head><body>
<h1>{title}</h1>
{paragraphs}
<h2>Methods on the same pairs</h2>
<div class="wide">{table}</div>
<h2>{pair_title}</h2>
<div class="pictures">{pictures}</div>
<h2>What held before anything was trained</h2>
<div class="wide">{gate}</div>
</body></html>
"""


def _html_table(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    cells = [
        "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in line) + "</tr>"
        for tag, line in [("th", head), *(("td", line) for line in body)]
    ]
    return "<table>" + "".join(cells) + "</table>"


def write_page(
    path: Path,
    *,
    title: str,
    paragraphs: Sequence[str],
    rows: Sequence[Row],
    levels: Sequence[str],
    pair_title: str,
    pictures: Sequence[tuple[Path, str]],
    verdicts: Sequence[Verdict],
) -> None:
    """Write the self-contained page: pictures are embedded, nothing is loaded from elsewhere.

    Args:
        path: HTML file to write.
        title: of the page.
        paragraphs: plain text under the title.
        rows: the table.
        levels: its levels.
        pair_title: heading of the pictures.
        pictures: (PNG, caption).
        verdicts: of the gate.
    """
    figures = []
    for picture, caption in pictures:
        data = base64.b64encode(picture.read_bytes()).decode()
        text = html.escape(caption)
        figures.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{text}">'
            f"<figcaption>{text}</figcaption></figure>"
        )
    gate = [["property", "held", "worst error", "tolerance", "cases"]] + [
        [v.name, "yes" if v.held else "NO", f"{v.worst:.1e}", f"{v.tolerance:.0e}", str(v.cases)]
        for v in verdicts
    ]
    page = _PAGE.format(
        title=html.escape(title),
        paragraphs="".join(f"<p>{html.escape(text)}</p>" for text in paragraphs),
        table=_html_table(_table(rows, levels)),
        pair_title=html.escape(pair_title),
        pictures="".join(figures),
        gate=_html_table(gate),
    )
    path.write_text(page, encoding="utf-8")
