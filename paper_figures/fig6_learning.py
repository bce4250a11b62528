"""Figure 6: how little data and how little time are enough to register by learned representations.

    python paper_figures/fig6_learning.py [--records records] [--out figures]

Reads ``RECORDS/data_efficiency/SET.jsonl``, written by ``benchmarks/data_efficiency.py``, and
``RECORDS/training_curves/*.jsonl``, written by ``benchmarks/training_curves.py --out``.
Draws success against the amount of training data, a panel a set, and against the minutes of
training, a panel a set and width, into ``fig6_learning.pdf`` and ``.png``, and writes the caption
``fig6_learning.txt``, of which every number is counted in the records. Where a record is missing
it draws nothing and says the command that makes it.
"""

from collections.abc import Sequence

import numpy as np
import script
import sources
import style
from learning_curves import SETS, Line, Panel, curves, efficiency
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from equicomir.evaluation.alignment import SUCCESS_FRACTION

AXES = {
    "slices": "training slices",
    "region": "share of the training image, %",
    "minutes": "minutes of training",
}


def draw(panels: Sequence[Panel]) -> Figure:
    """All panels in two columns' width, one legend above or where a panel is left over."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))  # no row with a single panel
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(style.WIDTH_INCHES, 0.4 + 2.2 * rows))
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    shown: dict[tuple[str, int | None], Artist] = {}
    for number, panel in enumerate(panels):
        axes = grid[number]
        axes.set_title(f"({chr(ord('a') + number)}) {panel.title}")
        axes.set(
            xlabel=AXES[panel.of], ylabel="success, %", ylim=(-3, 103), yticks=range(0, 101, 20)
        )
        for place, line in enumerate(panel.lines):
            # Side by side where amounts are the same, so that bars do not hide each other.
            aside = 1.0 if panel.of == "minutes" else 2 ** (0.1 * (place - 0.5))
            shown.setdefault(line.look, draw_line(axes, line, aside))
        if panel.of == "minutes":
            axes.set_xlim(left=0)
        else:
            ticks = panel.lines[0].x
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
    names = [legend_name(look) for look in shown]
    spare = grid[len(panels) :]
    for axes in spare:
        axes.set_axis_off()
    if len(spare):  # the legend has a place of its own
        spare[0].legend(list(shown.values()), names, loc="center")
    else:
        figure.legend(list(shown.values()), names, loc="outside upper center", ncols=len(names))
    return figure


def draw_line(axes: Axes, line: Line, aside: float) -> Artist:
    """One method; what stands for it in the legend."""
    look = style.LOOKS[line.look]
    x = [aside * value for value in line.x]
    for of_seed in line.seeds:
        axes.plot(*of_seed, color=look.colour, linewidth=0.5, linestyle=look.dashes, alpha=0.6)
    (drawn,) = axes.plot(
        x,
        line.success,
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker,
        markerfacecolor=look.colour if look.filled else "white",
    )
    if line.interval:
        reach = np.abs(np.array(line.interval).T - np.array(line.success))
        axes.errorbar(x, line.success, reach, color=look.colour, linestyle="none", elinewidth=0.9)
    return drawn


def legend_name(look: tuple[str, int | None]) -> str:
    """Which encoder, and how its images were turned in training."""
    family, turns = look
    angle = {None: "any angle", 4: "quarter turns"}[turns]
    return f"{'Tiramisu' if family == 'tiramisu' else family}, {angle}"


def caption(panels: Sequence[Panel]) -> str:
    """What stands under the figure; its numbers are those of the records."""
    said = [
        "How little data (by amount) and how little time (by minutes) are enough. A success is a "
        f'mean corner error of at most {100 * SUCCESS_FRACTION:g} % of the width; "any angle" and '
        '"quarter turns" say how every image was turned in training.'
    ]
    said += [f"({chr(ord('a') + n)}) {p.title}: {p.caption}" for n, p in enumerate(panels)]
    return "\n".join(said) + "\n"


def main() -> None:
    """Read, draw, write."""
    chosen = script.options(__doc__).parse_args()
    of_data = chosen.records / "data_efficiency"
    panels = [efficiency(of_data / f"{name}.jsonl", name) for name in SETS]
    of_time = chosen.records / "training_curves"
    panels += curves(of_time)
    files = [*(of_data / f"{name}.jsonl" for name in SETS), *of_time.glob("*.jsonl")]
    with style.house():
        style.save(draw(panels), chosen.out / "fig6_learning", sources.named(chosen.records, files))
    (chosen.out / "fig6_learning.txt").write_text(caption(panels))
    print(f"Figure and caption: {chosen.out / 'fig6_learning.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig6_learning", main)
