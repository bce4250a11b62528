"""Tables for a paper and for a page: the same cells in LaTeX and in Markdown.

A table is written once, as words, so that the two cannot differ; LaTeX's own marks are put in here
alone. It needs no package, and holds no date.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Table:
    """Cells, and what is said of them.

    Attributes:
        headings: of the columns.
        rows: as many cells each; a row of one cell is the heading of those below it.
        caption: in words, ending with a full stop.
        words: so many first columns hold words and begin at the left; numbers end at the right.
        wrapped: whether cells of words are too long for one line, and columns are as wide as the
            page has room for.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    words: int = 1
    wrapped: bool = False

    def __post_init__(self) -> None:
        """Refuse a row of another length.

        Raises:
            ValueError: the row is named.
        """
        for row in self.rows:
            if len(row) not in (1, len(self.headings)):
                raise ValueError(f"rows: expected {len(self.headings)} cells, got {list(row)}.")

    def markdown(self) -> str:
        """As GitHub and the site show it, the caption below.

        Example:
            >>> print(Table(("method", "%"), [("a_set",), ("SIFT", "7")], "Said.").markdown())
            | method | % |
            | --- | ---: |
            | **a_set** | |
            | SIFT | 7 |
            <BLANKLINE>
            Said.
            <BLANKLINE>
        """
        marks = ["---" if n < self.words else "---:" for n in range(len(self.headings))]
        lines = [f"| {' | '.join(self.headings)} |", f"| {' | '.join(marks)} |"]
        for row in self.rows:
            cells = [cell.replace("|", "\\|") for cell in row]
            if len(cells) == 1:
                lines.append(f"| **{cells[0]}** |{' |' * (len(self.headings) - 1)}")
            else:
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", self.caption]) + "\n"

    def latex(self, label: str) -> str:
        r"""As a float over both columns.

        Args:
            label: after ``tab:``.

        Example:
            >>> print(Table(("method", "%"), [("a_set",), ("SIFT", "7")], "Said.").latex("x"))
            \begin{table*}
            \caption{Said.}
            \label{tab:x}
            \centering\footnotesize
            \begin{tabular}{lr}
            \hline
            method & \% \\
            \hline
            \multicolumn{2}{l}{\textbf{a\_set}} \\
            SIFT & 7 \\
            \hline
            \end{tabular}
            \end{table*}
            <BLANKLINE>
        """
        columns = len(self.headings)
        left = rf"p{{{0.9 / columns:.3f}\linewidth}}" if self.wrapped else "l"
        lines = [
            *(
                r"\begin{table*}",
                rf"\caption{{{in_latex(self.caption)}}}",
                rf"\label{{tab:{label}}}",
            ),
            r"\centering\footnotesize",
            rf"\begin{{tabular}}{{{left * self.words + 'r' * (columns - self.words)}}}",
            *(r"\hline", f"{' & '.join(map(in_latex, self.headings))} \\\\", r"\hline"),
        ]
        for row in self.rows:
            cells = " & ".join(map(in_latex, row))
            if len(row) == 1:
                cells = rf"\multicolumn{{{columns}}}{{l}}{{\textbf{{{cells}}}}}"
            lines.append(f"{cells} \\\\")
        return "\n".join([*lines, r"\hline", r"\end{tabular}", r"\end{table*}"]) + "\n"


def in_latex(words: str) -> str:
    r"""Words with LaTeX's own marks made plain.

    Example:
        >>> print(in_latex("a_set: 50 % (SE(2, 8))"))
        a\_set: 50 \% (SE(2, 8))
    """
    return "".join(_LATEX.get(letter, letter) for letter in words)


def save(table: Table, stem: Path, sources: Sequence[str]) -> None:
    """Write ``STEM.tex`` and ``STEM.md``; the folder is made if it does not exist.

    Args:
        table: what to write.
        stem: of both files; its last part, after its first underscore, is the label.
        sources: what it was made of, as comments of both.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    said = "".join(f"% {line}\n" for line in sources)
    stem.with_suffix(".tex").write_text(said + table.latex(stem.name.partition("_")[2]))
    hidden = "\n".join(["<!--", *sources, "-->"])
    stem.with_suffix(".md").write_text(f"{table.markdown()}\n{hidden}\n")
