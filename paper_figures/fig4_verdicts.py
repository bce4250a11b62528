"""Figure 4: the verdicts of all experiments, as far as they stand: effects and their intervals.

    python paper_figures/fig4_verdicts.py [--records records] [--out figures]

Reads ``RECORDS/{h0_orderings,h1,...}/records.jsonl``, written by the scripts of ``experiments/``
that state a hypothesis. Draws, of every comparison on every set, by how much success differs, the
interval that holds for all comparisons of an experiment together, and the smallest effect that was
to matter, into ``fig4_verdicts.pdf`` and ``.png``; and writes the caption ``fig4_verdicts.txt``, of
which every number is counted in the records. Where no experiment stands it draws nothing and says
the command that runs one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import script
import sources
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from runs import SCRIPTS, UNITS, Standing, standing
from style import Look

from equicomir.evaluation.verdicts import FEWEST_SEEDS, FEWEST_UNITS
from equicomir.experiment.plan import Experiment
from equicomir.experiment.verdict import ROOM, Judged, has_room, judged

LOOKS = {
    "supported": Look("#0072B2", "o", "-", True),
    "refuted": Look("#D55E00", "s", "-", True),
    "inconclusive": Look("0.35", "D", "-", False),
}
_ROW_INCHES = 0.165
_LEFT, _WIDTH, _BELOW, _ABOVE = 3.0, 1.6, 0.42, 0.3  # inches, of and around the axes
_COLUMNS = (0.08, 1.08, 1.52)  # inches, right of the axes: interval, width, verdict
_ROUND = 20  # points, to which the axis ends
_LINES = 52  # of a page


@dataclass(frozen=True)
class Block:
    """The comparisons of one experiment, on all its sets: one family."""

    experiment: Experiment
    stands: list[Standing]
    found: list[Judged]


def blocks(of_records: Path) -> list[Block]:
    """What every experiment says, in the order of its name.

    Args:
        of_records: folder of all records.

    Raises:
        ValueError: no experiment stands.
    """
    by_name: dict[str, list[Standing]] = {}
    for one in standing(of_records):
        by_name.setdefault(one.experiment.name, []).append(one)
    made = []
    for of in by_name.values():
        runs = {place: found for one in of for place, found in one.runs.items()}
        seeds = {one.data_set.name: one.budget.seeds for one in of}
        found = judged(of[0].experiment, [one.data_set for one in of], runs, seeds=seeds)
        if found:
            made.append(Block(of[0].experiment, of, found))
    if not made:
        raise ValueError(
            f"{of_records}: expected both sides of at least one comparison, found none; let an "
            "experiment run on, by the command of its script."
        )
    return made


def pages(made: Sequence[Block], lines: int = _LINES) -> list[list[Block]]:
    """The blocks, divided between sets, in pages of at most so many lines; at least a set each.

    Args:
        made: of all experiments.
        lines: of a page, of which a set takes one for its heading.
    """
    found: list[list[Block]] = [[]]
    left = lines
    for block in made:
        for name in dict.fromkeys(one.data_set.name for one in block.found):
            part = [one for one in block.found if one.data_set.name == name]
            if len(part) + 1 > left and found[-1]:
                found.append([])
                left = lines
            found[-1].append(Block(block.experiment, block.stands, part))
            left -= len(part) + 1
    return found


def verdict(one: Judged) -> str:
    """Of :data:`LOOKS`: a verdict without room to compare is none."""
    return one.judgement.verdict.split(":")[0] if has_room(one) else "inconclusive"


def why(one: Judged) -> str:
    """The verdict as the figure says it."""
    if not has_room(one):
        return f"reference at {100 * one.reference:.0f} %"
    return one.judgement.verdict.removeprefix("inconclusive: ")


def ends(one: Judged) -> tuple[float, float]:
    """Of the interval, in points: no difference is above 100; infinite where nothing is known."""
    both = 100 * one.judgement.low, 100 * one.judgement.high
    low, high = (v if math.isinf(v) else float(np.clip(v, -100, 100)) for v in both)
    return low, high


def reach(made: Sequence[Block]) -> float:
    """Where the axis ends, in points: all finite ends are within, and all effects."""
    every = [
        abs(value)
        for block in made
        for one in block.found
        for value in (*ends(one), 100 * one.found.estimate)
        if math.isfinite(value)
    ]
    return min(100.0, _ROUND * math.ceil(1.02 * max(every) / _ROUND))


def draw(made: Sequence[Block], end: float | None = None) -> Figure:
    """A line a comparison, under the hypothesis it belongs to.

    Args:
        made: of one page.
        end: of the axis, in points, one for all pages; that of this page if None.
    """
    end = end or reach(made)
    lines = sum(len(b.found) + len({one.data_set.name for one in b.found}) for b in made)
    height = _ROW_INCHES * lines
    figure = Figure(figsize=(style.WIDTH_INCHES, _BELOW + height + _ABOVE))
    # Words stand on both sides, in columns: their places are inches, which no layout moves.
    figure.set_layout_engine("none")
    of_figure = np.array([style.WIDTH_INCHES, _BELOW + height + _ABOVE] * 2)
    axes = figure.add_axes(tuple(np.array([_LEFT, _BELOW, _WIDTH, height]) / of_figure))
    at, labels = 0, list[tuple[int, str]]()
    beside = axes.get_yaxis_transform()
    for block in made:
        for name in dict.fromkeys(one.data_set.name for one in block.found):
            heading = f"{block.experiment.name}, {name}: {block.experiment.hypothesis}"
            bold: Any = {"va": "center", "weight": "bold", "fontsize": 7}
            axes.text((0.05 - _LEFT) / _WIDTH, at, heading, transform=beside, **bold)
            for one in (one for one in block.found if one.data_set.name == name):
                at += 1
                labels.append((at, f"{one.comparison.better} over {one.comparison.than}"))
                draw_line(axes, at, one, end)
                for inches, words in zip(_COLUMNS, said_beside(one), strict=True):
                    place = 1 + inches / _WIDTH
                    axes.text(place, at, words, transform=beside, va="center", fontsize=6.5)
            at += 1
    axes.set_yticks([place for place, _ in labels], [words for _, words in labels])
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.set(ylim=(at - 0.3, -0.7), xlim=(-end, end), xlabel="difference of success, points")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    draw_legend(figure, made)
    return figure


def draw_line(axes: Axes, at: int, one: Judged, end: float) -> None:
    """The estimate, its interval, and the effect that was asked for; carets beyond the axis."""
    look = LOOKS[verdict(one)]
    low, high = ends(one)
    axes.plot(np.clip([low, high], -end, end), [at, at], color=look.colour, linewidth=1.1)
    for value, side, caret in ((low, -end, "<"), (high, end, ">")):
        if abs(value) > end:
            axes.plot([side], [at], caret, color=look.colour, markersize=3.5, clip_on=False)
    axes.plot(
        *([100 * one.found.estimate], [at], look.marker),
        color=look.colour,
        markerfacecolor=look.colour if look.filled else "white",
        markersize=4,
    )
    effect = 100 * one.comparison.by
    axes.plot([effect, effect], [at - 0.35, at + 0.35], color="black", linewidth=0.9, zorder=1)


def said_beside(one: Judged) -> tuple[str, str, str]:
    """The columns on the right."""
    return numbers(one), f"{one.width} px", why(one)


def numbers(one: Judged) -> str:
    """Estimate and interval, in points."""
    low, high = ends(one)
    interval = f"{low:+.0f} to {high:+.0f}" if math.isfinite(low + high) else "no interval"
    return f"{100 * one.found.estimate:+.0f} ({interval})"


def draw_legend(figure: Figure, made: Sequence[Block]) -> None:
    """Every verdict that is drawn, and the effect that was asked for."""
    there = {verdict(one) for block in made for one in block.found}
    shown = [
        Line2D(
            *([], []),
            color=look.colour,
            marker=look.marker,
            markersize=4,
            markerfacecolor=look.colour if look.filled else "white",
        )
        for name, look in LOOKS.items()
        if name in there
    ]
    names = [name for name in LOOKS if name in there]
    shown.append(Line2D([], [], color="black", marker="|", linewidth=0, markersize=7))
    names.append("smallest effect that was to matter")
    figure.legend(shown, names, loc="upper center", ncols=len(names))


def caption(made: Sequence[Block]) -> str:
    """What stands under the figure; its numbers are those of the records."""
    count = sum(len(block.found) for block in made)
    said = [
        f"{style.counted(count, 'comparison')} of {style.counted(len(made), 'experiment')}: by how "
        "many points the first variant succeeds more often than the second, on the same pairs, "
        "with intervals that hold together, at 95 %, for all comparisons of an experiment. "
        "Supported: the whole interval lies above the smallest effect that was to matter; refuted: "
        "below it; reference at: the second succeeds in the share that is given, less than "
        f"{100 * ROOM[0]:.0f} or more than {100 * ROOM[1]:.0f} %; too small: fewer than "
        f"{FEWEST_SEEDS} training seeds or {FEWEST_UNITS} units, or an interval so wide that no "
        "difference could have been supported. An end at the effect itself is all that Holm's "
        "steps leave to be said on that side."
    ]
    said += [of_block(block) for block in made]
    folders = {one.path.parent.name for block in made for one in block.stands}
    missing = [folder for folder in SCRIPTS if folder not in folders]
    if missing:
        said.append(f"Not in the records: {', '.join(missing)}.")
    return "\n".join(said) + "\n"


def of_block(block: Block) -> str:
    """Seeds, pairs and units of one experiment."""
    each = []
    for stands in block.stands:
        of_set = [one for one in block.found if one.data_set.name == stands.data_set.name]
        if not of_set:
            continue
        seeds, units, pairs = (
            "/".join(str(n) for n in sorted({getattr(one.found, name) for one in of_set}))
            for name in ("seeds", "units", "pairs")
        )
        scenes = {
            pair["scene"] for of in stands.runs.values() for run in of for pair in run["pairs"]
        }
        each.append(
            f"{stands.data_set.name}, {seeds} training seeds, {pairs} test pairs of "
            f"{style.counted(len(scenes), 'scene')} in {units} units "
            f"({UNITS[stands.data_set.unit]}), {stands.spent} a training"
        )
    return f"{block.experiment.name}: {'; '.join(each)}."


def main() -> None:
    """Read, judge, draw, write."""
    chosen = script.options(__doc__).parse_args()
    made = blocks(chosen.records)
    files = sorted({one.path for block in made for one in block.stands})
    with style.house():
        named = sources.named(chosen.records, files)
        for number, page in enumerate(pages(made), 1):
            name = "fig4_verdicts" if number == 1 else f"fig4_verdicts_{number}"
            style.save(draw(page, reach(made)), chosen.out / name, named)
    (chosen.out / "fig4_verdicts.txt").write_text(caption(made))
    print(f"Figure and caption: {chosen.out / 'fig4_verdicts.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig4_verdicts", main)
