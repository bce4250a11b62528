"""Figure 9: how time and memory grow, beside what the machine could do at best.

    python paper_figures/fig9_growth.py [--records records] [--out figures]

Reads ``RECORDS/growth/growth.jsonl``, written by ``benchmarks/growth.py``. Draws seconds of
registering and of encoding against the size of an image, the peak of memory of both, and seconds
of a training step and of the loss against batch, modalities, channels and the order of the group,
into ``fig9_growth.pdf`` and ``.png``, and writes the caption ``fig9_growth.txt``, of which every
number is computed from the records. Where they are missing it says the command that makes them.
"""

from collections.abc import Mapping, Sequence

import script
import sources
import style
from growth_curves import FILE, GROWING, NAMES, Curve, curves, machine, two_digits
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

_REGISTRATION = ("search", "information", "distance", "features")
_ENCODING = ("encode", "encode_by_tiles")
#: Title, what is drawn, its series.
PANELS: Sequence[tuple[str, str, Sequence[str]]] = [
    ("registering a pair", "seconds", _REGISTRATION),
    ("encoding an image", "seconds", _ENCODING),
    ("memory of both", "mebibytes", (*_REGISTRATION, *_ENCODING)),
    ("training, by batch", "seconds", ("step_batch", "loss_batch")),
    ("training, by modalities", "seconds", ("step_modalities", "loss_modalities")),
    (
        "step, by width, group",
        "seconds",
        ("step_channels", "step_order", "step_order_same_channels"),
    ),
]
LOOKS = {
    "search": style.Look("#0072B2", "o", "-", True),
    "information": style.Look("#E69F00", "s", "--", True),
    "distance": style.Look("#000000", "^", "-.", True),
    "features": style.Look("#CC79A7", "v", ":", True),
    "encode": style.Look("#009E73", "D", "-", False),
    "encode_by_tiles": style.Look("#D55E00", "P", "--", False),
    "step_batch": style.Look("#0072B2", "o", "-", True),
    "step_modalities": style.Look("#0072B2", "o", "-", True),
    "loss_batch": style.Look("#E69F00", "s", "--", True),
    "loss_modalities": style.Look("#E69F00", "s", "--", True),
    "step_channels": style.Look("#0072B2", "o", "-", True),
    "step_order": style.Look("#E69F00", "s", "--", True),
    "step_order_same_channels": style.Look("#000000", "^", "-.", True),
}
_LABELS = {"seconds": "seconds", "mebibytes": "peak of memory, MiB"}


def draw(found: Mapping[str, Curve]) -> Figure:
    """Six panels of two logarithmic axes; a panel without records stays empty."""
    figure = Figure(figsize=(style.WIDTH_INCHES, 5.6))
    grid = figure.subplots(2, 3).ravel()
    for number, (axes, (title, amount, names)) in enumerate(zip(grid, PANELS, strict=True)):
        axes.set_title(f"({chr(ord('a') + number)}) {title}")
        shown = [found[name] for name in names if name in found]
        axes.set(xscale="log", yscale="log", ylabel=_LABELS[amount])
        for curve in shown:
            draw_curve(axes, curve, amount)
        growing = list(dict.fromkeys(curve.of for curve in shown))
        axes.set_xlabel(", ".join(GROWING[of] for of in growing).replace(" at full resolution", ""))
        ticks = sorted({value for curve in shown for value in curve.values})
        mark(axes, ticks)
        handles = [handle(curve, amount) for curve in shown]
        if handles:
            low, high = axes.get_ylim()
            room = 0.03 + 0.078 * len(handles)  # of the height, for the legend
            axes.set_ylim(low, low * (high / low) ** (1 / (1 - room)))
            axes.legend(handles=handles, loc="upper left", handlelength=2.6, borderaxespad=0.1)
    return figure


def draw_curve(axes: Axes, curve: Curve, amount: str) -> None:
    """What was measured, and thinner below it what the machine could do at best."""
    look = LOOKS[curve.series]
    axes.plot(
        curve.values,
        getattr(curve, amount),
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker,
        markerfacecolor=look.colour if look.filled else "white",
    )
    if amount == "seconds":
        for limit, dashes in ((curve.arithmetic, (0, (1, 1))), (curve.traffic, (0, (4, 1, 1, 1)))):
            if min(limit) > 0:
                axes.plot(curve.values, limit, color=look.colour, linestyle=dashes, linewidth=0.6)


def handle(curve: Curve, amount: str) -> Line2D:
    """For the legend: the name and the exponent."""
    look = LOOKS[curve.series]
    fitted = curve.time if amount == "seconds" else curve.memory
    name = NAMES[curve.series].removeprefix("encoding, ") if amount == "seconds" else ""
    name = name or NAMES[curve.series]
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.dashes,
        marker=look.marker,
        markerfacecolor=look.colour if look.filled else "white",
        label=f"{name}: {two_digits(fitted.exponent)}" if fitted else name,
    )


def mark(axes: Axes, ticks: Sequence[int]) -> None:
    """Ticks where points are: every one, or as many as have room."""
    kept = ticks[:: -(-len(ticks) // 5)]
    axes.set_xticks(kept, [str(tick) for tick in kept])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.8g}"))


def caption(found: Mapping[str, Curve], on: str) -> str:
    """What stands under the figure; its numbers are those of the records."""
    last = [
        f"{NAMES[name]} up to {curve.values[-1]} px ({curve.seconds[-1]:.2f} s)"
        for name, curve in found.items()
        if curve.of == "size"
    ]
    said = [
        "How time and memory grow. In legends: the fitted exponent (least squares of logarithms "
        "over all points). Thin, dotted: what the counted operations would take at the best rate "
        "that the same machine reached in the same run; thin, dashed and dotted: what the bytes "
        "that they read and write would take at the rate of a copy. Features run outside torch "
        "and were not counted, nor were the distance transforms of distance.",
        f"A series ends where the next point would have taken too long or too much memory: "
        f"{'; '.join(last)}.",
        f"Measured on {on}.",
    ]
    return "\n".join(said) + "\n"


def main() -> None:
    """Read, draw, write."""
    chosen = script.options(__doc__).parse_args()
    found, on = curves(chosen.records), machine(chosen.records)
    files = [chosen.records / FILE]
    with style.house():
        style.save(draw(found), chosen.out / "fig9_growth", sources.named(chosen.records, files))
    (chosen.out / "fig9_growth.txt").write_text(caption(found, on))
    print(f"Figure and caption: {chosen.out / 'fig9_growth.pdf'}, .png and .txt")


if __name__ == "__main__":
    script.run("fig9_growth", main)
