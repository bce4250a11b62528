"""Table 3: what this and other tools do, as the page that compares them has it.

    python paper_figures/table3_features.py [--docs docs] [--out figures]

Reads the first table of ``DOCS/comparison.md``, its one source, and writes ``table3_features.tex``
and ``.md``. Where the page has no table it writes nothing and says so.
"""

import argparse
from pathlib import Path

import script
import sources
import tables

_CAPTION = (
    "What registration tools do and need. Stated from their documentation and publications, which "
    "the page names; none of it was measured for this table."
)


def features(path: Path) -> tables.Table:
    """The first table of a page.

    Args:
        path: of the page, in Markdown.

    Raises:
        ValueError: there is none.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    first = next((n for n, line in enumerate(lines) if line.startswith("|")), len(lines))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    if len(rows) < 3:
        raise ValueError(
            f"{path}: expected a page with a table of tools, found none; restore it with git "
            f"checkout {path}."
        )
    headings = [name or "tool" for name in rows[0]]
    return tables.Table(headings, rows[2:], _CAPTION, words=len(headings), wrapped=True)


def main() -> None:
    """Read, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--out", type=Path, default=Path("figures"))
    chosen = parser.parse_args()
    path = chosen.docs / "comparison.md"
    found = features(path)
    tables.save(found, chosen.out / "table3_features", sources.named(chosen.docs, [path]))
    print(f"Table: {chosen.out / 'table3_features.tex'} and .md")


if __name__ == "__main__":
    script.run("table3_features", main)
