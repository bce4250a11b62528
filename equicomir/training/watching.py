"""What a run shows while it goes on: one line on the terminal, a CSV file, TensorBoard on request.

Beside the loss stand the numbers that tell whether the representations collapse: how far apart
the two of a pair are and how evenly all scenes are spread (Wang and Isola, Understanding
contrastive representation learning through alignment and uniformity on the hypersphere, ICML
2020, arXiv 2005.10242), and in how many directions they vary.
"""

import contextlib
import csv
import hashlib
import io
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from equicomir.losses.collapse import effective_rank
from equicomir.losses.similarity import correlation
from equicomir.sealed import write_whole
from equicomir.shapes import Mask, Stack

EVERY = 10  # steps from one look at the representations to the next
COLUMNS = (
    "step",
    "seconds",
    "loss",
    "learning_rate",
    "pairs_a_second",
    "alignment",
    "uniformity",
    "effective_rank",
    "validation",
)


@torch.no_grad()
def spread(representations: Stack, mask: Mask | None = None) -> tuple[float, float, float]:
    """Alignment, uniformity and effective rank of a batch.

    Args:
        representations: (modalities, batch, channels, height, width).
        mask: where to look, (height, width).

    Returns:
        The mean squared distance, in [0, 4], between the representations of one scene, each
        without its mean and of length one; the logarithm of the mean of exp(-2 distance squared)
        between scenes (0 where all are the same, the lower the more evenly spread); and the
        number of directions in which the batch varies, up to its size.

    Example:
        >>> same = torch.rand(1, 3, 1, 8, 8).expand(2, -1, -1, -1, -1)
        >>> spread(same)[0] < 1e-5
        True
    """
    y = representations.detach().float()
    aligned = [(2 - 2 * correlation(a, b, mask).diag()).mean() for a, b in combinations(y, 2)]
    apart = ~torch.eye(y.shape[1], dtype=torch.bool, device=y.device)
    uniform = [(4 * correlation(a, a, mask)[apart] - 4).exp().mean().log() for a in y]
    rank = sum(effective_rank(a, mask=mask) for a in y) / len(y)
    return float(torch.stack(aligned).mean()), float(torch.stack(uniform).mean()), rank


class Watch:
    """The eyes of one run; a context in which the progress line is shown.

    Args:
        folder: gets ``progress.csv``; no file if None.
        done: steps that an earlier, broken run had done: its lines up to there are kept.
        pairs: a step.
        before: seconds that it had taken.
        told: the :meth:`digest` of those lines; empty where nobody noted it.
        label: before the progress line.
        quiet: no progress line.
        tensorboard: write for it into ``folder / "tensorboard"`` too.

    Raises:
        ImportError: TensorBoard is asked for and not installed.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path | None,
        done: int,
        pairs: int,
        *,
        before: float = 0.0,
        told: str = "",
        label: str = "training",
        quiet: bool = False,
        tensorboard: bool = False,
    ) -> None:
        self.pairs, self.begun, self.first = pairs, time.perf_counter(), done
        self.before = before
        self.line: dict[str, Any] = {}
        self.rank = math.nan
        self.written = hashlib.sha256()
        self.file = None
        self.board = _tensorboard(folder) if tensorboard else None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "progress.csv"
            kept = _kept(path, done, told)
            write_whole(path, kept.encode())  # a process killed here has lost nothing of it
            self.written.update(kept.encode())
            self.file = path.open("a", newline="", encoding="utf-8")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=Console(file=sys.stderr), disable=quiet)
        self.task = self.progress.add_task(label, total=None, completed=done, said="...")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()
        if self.file is not None:
            self.file.close()
        if self.board is not None:
            self.board.close()

    def look(self, representations: Stack, mask: Mask | None) -> None:
        """Note how the representations of a batch are spread.

        Args:
            representations: (modalities, batch, channels, height, width).
            mask: boolean (height, width): where they are looked at; everywhere if None.
        """
        names = ("alignment", "uniformity", "effective_rank")
        self.line.update(zip(names, spread(representations, mask), strict=True))

    def step(self, step: int, total: int | None, loss: float, learning_rate: float) -> None:
        """Note one step, ``step`` of them done.

        Args:
            step: how many are done.
            total: how many there will be, if that is known.
            loss: of this one.
            learning_rate: of this one.
        """
        seconds = time.perf_counter() - self.begun
        speed = (step - self.first) * self.pairs / seconds
        self.line.update(step=step, seconds=round(self.before + seconds, 3), loss=loss)
        self.line.update(learning_rate=learning_rate, pairs_a_second=round(speed, 1))
        self.rank = self.line.get("effective_rank", self.rank)
        said = f"loss {loss:.3f}  rank {self.rank:.1f}"
        said = f"{said}  {speed:.0f} pairs/s"
        self.progress.update(self.task, completed=step, total=total, said=said)

    def _put(self, text: str) -> None:
        if self.file is None:
            return
        try:
            self.written.update(text.encode())
            self.file.write(text)
            self.file.flush()
        except OSError as error:
            said = f"{self.file.name}: expected room for the progress, got: {error.strerror};"
            print(f"{said} training goes on without it.", file=sys.stderr)
            with contextlib.suppress(OSError):  # of what did not find room
                self.file.close()
            self.file = None

    def digest(self) -> str:
        """Of all that stands in the file, to know it again; empty without a file."""
        return "" if self.file is None else self.written.hexdigest()

    def write(self, validation: float | None = None) -> None:
        """End the line of this step."""
        if validation is not None:
            self.line["validation"] = validation
        self._put(_as_text([self.line]))
        if self.board is not None:
            for name, value in self.line.items():
                if name != "step":
                    self.board.add_scalar(name, value, self.line["step"])
        self.line = {}


def _as_text(lines: Iterable[Mapping[str, Any]], *, header: bool = False) -> str:
    """Lines of the table as they stand in the file."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    if header:
        table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def _kept(path: Path, done: int, told: str) -> str:
    """What an earlier run had written of its first steps, with the header; the header alone where
    that is damaged, which is said, and the file set aside.
    """
    empty = _as_text([], header=True)
    if not path.exists():
        return empty
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            lines = list(table)
        if table.fieldnames != list(COLUMNS):
            raise ValueError("other columns")
        whole = [line for line in lines if None not in (*line, *line.values())]  # not torn
        kept = _as_text([line for line in whole if int(line["step"]) <= done], header=True)
        if not told or hashlib.sha256(kept.encode()).hexdigest() == told:
            return kept
        reason = "other lines than the run had written"
    except (ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
    aside = path.with_suffix(".damaged.csv")
    os.replace(path, aside)
    said = f"{path}: expected the progress of this run, got: {reason}; it is kept as {aside.name},"
    print(f"{said} and training goes on.", file=sys.stderr)
    return empty


def _tensorboard(folder: Path | None) -> Any:
    if folder is None:
        raise ValueError("tensorboard: expected a folder of the run to write into, got none.")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard: expected the package tensorboard, found none; pip install tensorboard, "
            "or read progress.csv."
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
