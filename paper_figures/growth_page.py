"""The page of the site on how time and memory grow, made from the records alone.

    python paper_figures/growth_page.py [--records records] [--docs docs]

writes ``docs/growth.md``: how it was measured, the table of ``table4_growth.py`` and the picture of
``fig9_growth.py``, which it puts beside it as ``growth.png``. Without records the page says the
command that makes them, and no number.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import fig9_growth
import script
import sources
import style
import table4_growth
from growth_curves import FILE, Curve, curves, machine

TITLE = "# How time and memory grow"
INTRODUCTION = """
How long registering, encoding and training take as images get larger, batches longer, networks
wider or modalities more; how much memory they need; and how far that is from what the machine
could do at best. Made from the records by `paper_figures/growth_page.py`; the records by

    OMP_NUM_THREADS=1 python benchmarks/growth.py --most-seconds 90

which measures every point in a process of its own, and goes on where it was stopped. A series ends
where the next point would take too long, or more memory than is free.
Images are blurred noise, as rich a pixel at every size; the encoder is the default one. Two other
scripts print the costs beside other implementations, as ratios of one run:
`benchmarks/encoders.py` (the plain network, and the same network built of escnn's own modules) and
`benchmarks/loss_speed.py` (the bare matrix product, and CoMIR's loop over pairs).
"""
READING = """
An exponent is the slope of a straight line through the logarithms: 2 against height and width is
linear in pixels. Work that does not grow with the image, such as a coarse search, flattens the
small end, so the slope of the last step stands beside it. *Arithmetic alone* is what the counted
operations (convolutions, products, Fourier transforms) take at the best rate that a matrix product
or a convolution reached in the same run: nothing that computes as many can be faster. *Memory
traffic alone* is what the bytes that all operations read and write take at the rate of a large
copy: what stays in the processor's cache can be faster. Nothing is counted outside torch (features;
the distance transforms of distance).
"""
NOTHING = "\nNo run is recorded yet.\n"


def page(found: Mapping[str, Curve] | None, on: str = "") -> str:
    """The page.

    Args:
        found: the curves, by series; None where nothing is recorded.
        on: the machine in words.

    Returns:
        Markdown.
    """
    if found is None:
        return f"{TITLE}\n{INTRODUCTION}{NOTHING}"
    said = fig9_growth.caption(found, on).replace("\n", " ").strip()
    picture = f"![{fig9_growth.PANELS[0][0]}, and five more panels](growth.png)\n\n*{said}*\n"
    return (
        f"{TITLE}\n{INTRODUCTION}\n{picture}{READING}\n{table4_growth.table(found, on).markdown()}"
    )


def main() -> None:
    """Read and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("records"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    chosen = parser.parse_args()
    chosen.docs.mkdir(parents=True, exist_ok=True)
    file = chosen.records / FILE
    if not file.exists():
        (chosen.docs / "growth.md").write_text(page(None))
        return
    found, on = curves(chosen.records), machine(chosen.records)
    with style.house():
        drawn = fig9_growth.draw(found)
        source = "; ".join(sources.named(chosen.records, [file])[1:])
        drawn.savefig(
            chosen.docs / "growth.png", dpi=150, metadata={"Software": None, "Source": source}
        )
    (chosen.docs / "growth.md").write_text(page(found, on))
    print(f"Page and picture: {chosen.docs / 'growth.md'} and growth.png")


if __name__ == "__main__":
    script.run("growth_page", main)
