"""Figure 5: fine detail that representations share, against how often they register.

    python paper_figures/fig5_detail.py [--records records] [--out figures]

Reads ``RECORDS/{h0_orderings,h1,...}/records.jsonl``, written by the scripts of ``experiments/``
that state a hypothesis. Draws every variant that learned something as a point, a panel a set, and
the front of those that no other exceeds in both, into ``fig5_detail.pdf`` and ``.png``; and writes
the caption ``fig5_detail.txt``, of which every number is counted in the records. Where no
experiment stands it draws nothing and says the command that runs one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import script
import sources
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from runs import Standing, roomiest, seeds_in_words, standing, units_of
from style import Look

from equicomir.evaluation.coherence import FINE
from equicomir.evaluation.records import Record, successes
from equicomir.experiment.rows import Row, row
from equicomir.experiment.sets import DataSet
from equicomir.experiment.trade_off import front, trade_off

LOOKS = {
    "h0": Look("#0072B2", "o", "", True),
    "h1": Look("#E69F00", "s", "", True),
    "h2": Look("#009E73", "D", "", True),
    "h3": Look("#CC79A7", "v", "", True),
    "h4": Look("#56B4E9", "P", "", True),
    "h5": Look("#000000", "^", "", False),
    "h6": Look("#D55E00", "X", "", False),
    "h7": Look("#0072B2", "*", "", False),
}
_LEAST = 1e-4  # a representation without any fine detail has no logarithm, and is drawn there
_DETAIL = "fine detail shared: coherence of representations, 0 to 1"


@dataclass(frozen=True)
class Point:
    """One variant.

    Attributes:
        experiment: such as ``"h5"``.
        row: what the experiment's own table says of it; its variant is named after the experiment.
        detail: of each seed, in [0, 1].
        success: of each seed, in %.
    """

    experiment: str
    row: Row
    detail: list[float]
    success: list[float]

    @property
    def at(self) -> tuple[float, float]:
        """Means over seeds."""
        return max(_LEAST, self.row.coherence), 100 * self.row.success


@dataclass(frozen=True)
class Panel:
    """All variants of all experiments on one set, at one width."""

    data_set: DataSet
    width: int
    points: list[Point]
    stands: list[Standing]

    @property
    def runs(self) -> list[list[Record]]:
        """Those behind the points."""
        return [of for one in self.stands for of in one.at(self.width).values() if _learned(of)]

    @property
    def floor(self) -> float:
        """The coherence that chance gives, mean over runs."""
        every = [run["detail"]["coherence_floor"] for of in self.runs for run in of]
        return float(np.mean(every))


def _learned(runs: Sequence[Record]) -> bool:
    return "detail" in runs[0]


def panels(of_records: Path) -> list[Panel]:
    """A panel a set, at the width where its variants leave most room.

    Args:
        of_records: folder of all records.

    Raises:
        ValueError: no experiment stands.
    """
    by_set: dict[str, list[Standing]] = {}
    for one in standing(of_records):
        by_set.setdefault(one.data_set.name, []).append(one)
    found = []
    for stands in by_set.values():
        rates: dict[int, list[float]] = {}
        units: dict[int, int] = {}
        for one in stands:
            for (_, width, _), runs in one.runs.items():
                if _learned(runs):
                    rates.setdefault(width, []).append(float(successes(runs).mean()))
                    units[width] = len(set(units_of(runs, one.data_set)))
        if rates:
            width = roomiest({width: float(np.mean(each)) for width, each in rates.items()}, units)
            found.append(Panel(stands[0].data_set, width, points(stands, width), stands))
    if not found:
        raise ValueError(
            f"{of_records}: expected runs of variants that learn, found raw images alone; let an "
            "experiment run on, by the command of its script."
        )
    return found


def points(stands: Sequence[Standing], width: int) -> list[Point]:
    """What learned something, at one width, in the order of the experiments."""
    found = []
    for one in stands:
        name = one.experiment.name
        for variant, runs in one.at(width).items():
            if _learned(runs):
                place = (one.data_set.name, width, f"{name}: {variant}")
                detail = [max(_LEAST, run["detail"]["coherence_between"]) for run in runs]
                success = (100 * successes(runs).mean(1)).tolist()
                found.append(Point(name, row(place, runs, one.data_set), detail, success))
    return found


def best_of(of: Sequence[Point]) -> list[Point]:
    """Those than which no other keeps more detail and succeeds more often, by falling success."""
    by_row = {id(one.row): one for one in of}
    return [by_row[id(kept)] for kept in front([one.row for one in of])]


def draw(found: Sequence[Panel]) -> Figure:
    """A panel a row, the points of its front named beside it."""
    figure = Figure(figsize=(style.WIDTH_INCHES, 0.3 + 2.9 * len(found)))
    for number, (panel, axes) in enumerate(
        zip(found, np.ravel(figure.subplots(len(found), 1, squeeze=False)), strict=True)
    ):
        best = best_of(panel.points)
        for one in panel.points:
            draw_point(axes, one)
        axes.plot(
            *zip(*(one.at for one in best), strict=True), color="0.5", linewidth=0.9, zorder=1
        )
        number_points(axes, best)
        letter = f"({chr(ord('a') + number)}) " if len(found) > 1 else ""
        axes.set_title(f"{letter}{panel.data_set.name}, {panel.width} px")
        axes.set(ylabel="success, %", xlabel=_DETAIL)
        axes.axvline(panel.floor, color="0.6", linewidth=0.7, linestyle="--", zorder=1)
        axes.set_xscale("log")
        axes.margins(0.06)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        draw_legend(axes, panel, best)
    return figure


def draw_point(axes: Axes, one: Point) -> None:
    """The mean over seeds, and how far single seeds lie."""
    look = LOOKS[one.experiment]
    detail, success = one.at
    for of_seed in zip(one.detail, one.success, strict=True):
        axes.plot(*zip(one.at, of_seed, strict=True), color=look.colour, linewidth=0.4, alpha=0.35)
    axes.plot(
        *([detail], [success], look.marker),
        color=look.colour,
        markersize=4.5,
        markerfacecolor=look.colour if look.filled else "white",
    )


def number_points(axes: Axes, best: Sequence[Point]) -> None:
    """A number at each point of the front, on either side of the line in turn."""
    for number, one in enumerate(best, 1):
        beyond = number % 2 == 1
        axes.annotate(
            *(str(number), one.at),
            xytext=(3, 3) if beyond else (-3, -3),
            textcoords="offset points",
            ha="left" if beyond else "right",
            va="bottom" if beyond else "top",
            fontsize=7,
            weight="bold",
        )


def draw_legend(axes: Axes, panel: Panel, best: Sequence[Point]) -> None:
    """The marks of the experiments, and the names of the points of the front."""
    shown, names = [], []
    for name in dict.fromkeys(one.experiment for one in panel.points):
        look = LOOKS[name]
        face = look.colour if look.filled else "white"
        shown.append(
            Line2D([], [], color=look.colour, marker=look.marker, linewidth=0, markerfacecolor=face)
        )
        names.append(name)
    shown.append(Line2D([], [], color="0.6", linewidth=0.7, linestyle="--"))
    names.append("by chance")
    for number, one in enumerate(best, 1):
        shown.append(Line2D([], [], marker=f"${number}$", color="black", linewidth=0))
        names.append(one.row.variant)
    axes.legend(shown, names, loc="upper left", bbox_to_anchor=(1.01, 1.02), handlelength=1.2)


def caption(found: Sequence[Panel]) -> str:
    """What stands under the figure; its numbers are those of the records."""
    said = [
        "Fine detail that the two representations of a scene share (mean coherence above "
        f"{FINE:g} cycles per px) against success of registration. A mark a variant, mean over "
        "training seeds, with a thin line to each seed; the line joins those that no other variant "
        "exceeds in one without falling short in the other; dashed: what chance gives. Raw images "
        "have no representation and are not drawn."
    ]
    for panel in found:
        pairs = panel.runs[0][0]["pairs"]
        scenes = style.counted(len({pair["scene"] for pair in pairs}), "scene")
        spent = ", ".join(f"{one.experiment.name} {one.spent}" for one in panel.stands)
        variants = style.counted(len(panel.points), "variant")
        together = trade_off([one.row for one in panel.points])
        said.append(
            f"{panel.data_set.name}, {panel.width} px: {variants}, "
            f"{seeds_in_words(len(of) for of in panel.runs)} each, {len(pairs)} test pairs of "
            f"{scenes}; trained for: {spent}."
        )
        said += [f"{together}."] if together else []
    return "\n".join(said) + "\n"


def main() -> None:
    """Read, draw, write."""
    chosen = script.options(__doc__).parse_args()
    found = panels(chosen.records)
    files = sorted({one.path for panel in found for one in panel.stands})
    with style.house():
        named = sources.named(chosen.records, files)
        style.save(draw(found), chosen.out / "fig5_detail", named)
    (chosen.out / "fig5_detail.txt").write_text(caption(found))
    print(f"Figure and caption: {chosen.out / 'fig5_detail.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig5_detail", main)
