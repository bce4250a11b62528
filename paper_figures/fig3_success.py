"""Figure 3: how often every method registers: by how near it must come, and by how far it must go.

    python paper_figures/fig3_success.py [--records records] [--out figures]

Reads ``RECORDS/h0_orderings/records.jsonl``, written by ``experiments/h0_orderings.py``, and
``RECORDS/h0_SET/records.jsonl``, written by ``experiments/h0_baselines.py``; a set that stands in
the first is drawn from there, with its raw baselines, any other from the second. Draws success
against the greatest corner error that counts as one, and against the rotation between the images,
with bootstrap bands, a figure a set, into ``fig3_success_SET.pdf`` and ``.png``; and writes the
caption ``fig3_success_SET.txt``, of which every number is counted in the records. Where no record
stands it draws nothing and says the command that makes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import script
import sources
import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from methods import ORDERINGS, Method, methods, of_source
from runs import UNITS, roomiest, seeds_in_words, units_of
from style import Look
from success_curves import EDGES, THRESHOLDS, Curve, by_rotation, by_threshold

from equicomir.evaluation.alignment import SUCCESS_FRACTION
from equicomir.evaluation.records import successes

_STEERABLE, _PLAIN = style.LOOKS["steerable", None], style.LOOKS["plain", None]
_TIRAMISU = style.LOOKS["tiramisu", 4]
_RAW = {
    "raw, mutual information": Look("#D55E00", "X", "-", True),
    "raw, squared-loss information": Look("#CC79A7", "^", "-.", False),
    "raw, SIFT": Look("#E69F00", "s", "--", False),
    "raw, elastix": Look("#000000", "d", ":", True),
    "nothing moved": Look("0.55", "", ":", False),
}
#: Rows of the figure of a set of the orderings: (title, variants and how each looks).
GROUPS: list[tuple[str, dict[str, Look]]] = [
    (
        "encoders, as many steps each",
        {
            "steerable": _STEERABLE,
            "plain, any angle": _PLAIN,
            "plain, quarter turns": style.LOOKS["plain", 4],
            "plain, not turned": Look("#D55E00", "X", "-.", True),
            "SE(2, 8)": Look("#CC79A7", "D", "-", False),
            "Tiramisu, quarter turns": _TIRAMISU,
        },
    ),
    (
        "as many minutes each, and another similarity",
        {
            "steerable, same minutes": _STEERABLE,
            "plain, any angle, same minutes": _PLAIN,
            "Tiramisu, same minutes": _TIRAMISU,
            "steerable, cosine": Look("#009E73", "P", "-", False),
        },
    ),
    (
        "other registrations, and raw images",
        {
            "steerable": _STEERABLE,
            "steerable, SIFT": Look("#56B4E9", "v", "--", True),
            "steerable, Alpha-AMD": Look("#009E73", "D", "-.", False),
            **_RAW,
        },
    ),
]
#: Row of the figure of a set of the baselines.
BASELINES: dict[str, Look] = {
    "steerable C8": _STEERABLE,
    "steerable SO(2), blur, 7 x 7 smooth": Look("#009E73", "P", "-", True),
    "plain": _PLAIN,
    "plain, blur, 7 x 7": Look("#D55E00", "D", "-.", True),
    **_RAW,
}
_OTHER = Look("#56B4E9", "v", "--", False)  # of encoders that are not named above
_ASIDE = 3.0  # degrees, of one method beside another
_TICKS = (0.25, 0.5, 1, 2, 5, 10, 20)


@dataclass(frozen=True)
class Row:
    """Methods that are drawn together: (name, look, by threshold, by rotation)."""

    title: str
    lines: list[tuple[str, Look, Curve, Curve]]


def at_one_width(of_set: Sequence[Method]) -> list[Method]:
    """Those at the width where the encoder in question leaves most room."""
    reference = next(
        (name for name in ("steerable", *BASELINES) if any(of.name == name for of in of_set)),
        of_set[0].name,
    )
    of_reference = [of for of in of_set if of.name == reference]
    width = roomiest(
        {of.width: float(successes(of.runs).mean()) for of in of_reference},
        {of.width: len(set(units_of(of.runs, of.data_set))) for of in of_reference},
    )
    return [of for of in of_set if of.width == width]


def rows(of_set: Sequence[Method]) -> list[Row]:
    """What is drawn of one set and width, without rows of which nothing stands."""
    by_name = {of.name: of for of in of_set}
    groups = GROUPS
    if of_set[0].path.parent.name != ORDERINGS:
        groups = [("all methods", dict.fromkeys(by_name, _OTHER) | BASELINES)]
    found = []
    for title, looks in groups:
        lines = [
            (name, look, by_threshold(by_name[name]), by_rotation(by_name[name]))
            for name, look in looks.items()
            if name in by_name
        ]
        if lines:
            found.append(Row(title, lines))
    return found


def draw(found: Sequence[Row]) -> Figure:
    """A row a group: by threshold, by rotation, and the legend beside them."""
    figure = Figure(figsize=(style.WIDTH_INCHES, 0.35 + 1.85 * len(found)))
    grid = figure.subplots(len(found), 2, sharex="col", sharey=True, squeeze=False)
    for number, (row, (left, right)) in enumerate(zip(found, grid, strict=True)):
        for place, (name, look, by_error, by_angle) in enumerate(row.lines):
            left.fill_between(
                *(by_error.x, by_error.low, by_error.high),
                **{"color": look.colour, "alpha": 0.13, "linewidth": 0},
            )
            draw_curve(left, name, look, by_error, every=6)
            draw_curve(right, name, look, aside(by_angle, place, len(row.lines)), every=1)
        left.axvline(100 * SUCCESS_FRACTION, color="0.3", linewidth=0.8, linestyle="--")
        letter = f"({chr(ord('a') + number)}) " if len(found) > 1 else ""
        left.set_title(letter + row.title)
        left.set(ylabel="success, %", ylim=(-3, 103), yticks=range(0, 101, 20))
        right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=6.8, handlelength=2.8)
    left, right = grid[-1]
    left.set_xscale("log")
    left.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    left.xaxis.set_minor_locator(NullLocator())
    left.set(xlim=(THRESHOLDS[0], THRESHOLDS[-1]), xlabel="greatest corner error, % of width")
    right.set(xlim=(-6, 186), xticks=EDGES, xlabel="rotation, degrees")
    return figure


def aside(of: Curve, place: int, count: int) -> Curve:
    """The same a little to the side, so that bars of several methods do not hide each other."""
    moved = _ASIDE * (place - (count - 1) / 2)
    return replace(of, x=[x + moved for x in of.x])


def draw_curve(axes: Axes, name: str, look: Look, of: Curve, every: int) -> None:
    """One method; with bars where it has few points."""
    if every == 1:
        reach = np.abs(np.array([of.low, of.high]) - of.success)
        bars: Any = {"linestyle": "none", "elinewidth": 0.7, "capsize": 1.2, "capthick": 0.7}
        axes.errorbar(of.x, of.success, reach, color=look.colour, **bars)
    axes.plot(
        *(of.x, of.success),
        label=name,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.1,
        marker=look.marker or None,
        markersize=3.2,
        markeredgewidth=0.8,
        markerfacecolor=look.colour if look.filled else "white",
        markevery=every,
    )


def caption(of_set: Sequence[Method], found: Sequence[Row]) -> str:
    """What stands under the figure; its numbers are those of the records."""
    drawn = {name for row in found for name, *_ in row.lines}
    shown = [of for of in of_set if of.name in drawn]
    first = shown[0]
    pairs = first.runs[0]["pairs"]
    scenes = style.counted(len({pair["scene"] for pair in pairs}), "scene")
    levels = ", ".join(dict.fromkeys(pair["level"] for pair in pairs))
    units = sorted({len(set(units_of(of.runs, of.data_set))) for of in shown})
    learned = [of for of in shown if of.learned]
    fewer = [
        f"{of.name}: {len(of.runs[0]['pairs'])}"
        for of in shown
        if len(of.runs[0]["pairs"]) < len(pairs)
    ]
    by_spent = list(dict.fromkeys(of.spent for of in learned))
    # What most were given goes without their names.
    by_spent.sort(key=lambda spent: -sum(of.spent == spent for of in learned))
    spent = "; ".join(
        each + (f" ({', '.join(of.name for of in learned if of.spent == each)})" if n else "")
        for n, each in enumerate(by_spent)
    )
    said = [
        f"Success on {first.data_set.name}, {first.width} px, against the greatest corner error "
        f"that counts as a success (left; the dashed line is the protocol's "
        f"{100 * SUCCESS_FRACTION:g} % of the width) and, at that, against the rotation between "
        f"the images (right; points at the mean of each {EDGES[1]:g} degrees). {len(pairs)} test "
        f"pairs of {scenes}, both directions, level {levels}"
        + (f" (fewer for {'; '.join(fewer)})" if fewer else "")
        + f"; {seeds_in_words(len(of.runs) for of in learned)} of what is learned. Bands and bars: "
        f"95 % intervals by bootstrap over training seeds and {_range(units)} units "
        f"({UNITS[first.data_set.unit]}); over units alone where there is one seed or none.",
        f"Trained for {spent}.",
    ]
    return "\n".join(said) + "\n"


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def main() -> None:
    """Read, draw, write."""
    chosen = script.options(__doc__).parse_args()
    every = methods(chosen.records)
    for name in dict.fromkeys(of.data_set.name for of in every):
        of_set = at_one_width(of_source(every, name))
        found = rows(of_set)
        stem = chosen.out / f"fig3_success_{name}"
        files = sorted({of.path for of in of_set})
        with style.house():
            style.save(draw(found), stem, sources.named(chosen.records, files))
        stem.with_suffix(".txt").write_text(caption(of_set, found))
        print(f"Figure and caption: {stem}.pdf, .png and .txt")


if __name__ == "__main__":
    script.run("fig3_success", main)
