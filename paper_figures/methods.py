"""Every method on every set and width: of the orderings of h0, and of its baselines.

The orderings compare what was trained alike, over seeds; the baselines show one training, longer,
on more pairs. Both are read as one kind of thing here, for figure 3 and the table of methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equivariance_curves import label_of
from runs import data_set_of, standing

from equicomir.evaluation import records
from equicomir.evaluation.records import Record
from equicomir.experiment.sets import DataSet

ORDERINGS = "h0_orderings"
#: Methods of the baselines that learn nothing, as their records call them, and as figures do.
RAW = {
    "identity": "nothing moved",
    "SIFT": "raw, SIFT",
    "elastix, 12 starts": "raw, elastix",
}
_BASELINES = "python experiments/h0_baselines.py --set DATA/{} --modalities A B --out {}"


@dataclass(frozen=True)
class Method:
    """One way to register, on one set and width.

    Attributes:
        data_set: on which.
        width: in pixels.
        name: as figures and tables call it.
        runs: one a training seed; one of what is not trained.
        learned: whether anything was trained for it.
        spent: what each training was given, in words; empty for what is not trained.
        path: of its records.
    """

    data_set: DataSet
    width: int
    name: str
    runs: list[Record]
    learned: bool
    spent: str
    path: Path


def methods(of_records: Path) -> list[Method]:
    """All, by source, set and width.

    Args:
        of_records: folder of all records.

    Raises:
        ValueError: there is none.
    """
    found = [*_ordered(of_records), *_baselines(of_records)]
    if not found:
        raise ValueError(
            f"{of_records}: expected records of h0, found none; run python experiments/"
            f"h0_orderings.py --data DATA --out {of_records / ORDERINGS}, or "
            f"{_BASELINES.format('SET', of_records / 'h0_SET')}."
        )
    return found


def _ordered(of_records: Path) -> list[Method]:
    if not records.read(of_records / ORDERINGS / "records.jsonl"):
        return []
    found = []
    for one in standing(of_records, [ORDERINGS]):
        for (_, width, variant), runs in one.runs.items():
            training = runs[0]["settings"]["training"]
            spent = in_words(training)
            found.append(
                Method(one.data_set, width, variant, runs, training is not None, spent, one.path)
            )
    return sorted(found, key=lambda of: (of.data_set.name, of.width))  # stable: as stated


def _baselines(of_records: Path) -> list[Method]:
    """Those of ``h0_SET``, the first record of each where several folders hold it."""
    found: dict[tuple[str, int, str], Method] = {}
    for path in sorted(of_records.glob("h0_*/records.jsonl")):
        for line in (line for line in records.read(path) if "method" in line):
            family = line["method"].removeprefix("search, ")
            learned = family in line["encoders"]
            name = label_of(line["encoders"][family]) if learned else RAW[line["method"]]
            spent = in_words(line["training"][family]) if learned else ""
            data_set = data_set_of(line["set"])
            method = Method(data_set, line["width"], name, [line], learned, spent, path)
            found.setdefault((line["set"], line["width"], name), method)
    return sorted(found.values(), key=lambda of: (of.data_set.name, of.width))


def in_words(training: dict[str, Any] | None) -> str:
    """What a training was given.

    Example:
        >>> in_words({"steps": 630, "minutes": 4.0}), in_words(None)
        ('630 steps', '')
    """
    if training is None:
        return ""
    if training["steps"]:
        return f"{training['steps']} steps"
    return f"{training['minutes']:g} min"


def of_source(found: Sequence[Method], data_set: str) -> list[Method]:
    """The methods of one set that were compared with each other: orderings before baselines."""
    of_set = [one for one in found if one.data_set.name == data_set]
    ordered = [one for one in of_set if one.path.parent.name == ORDERINGS]
    return ordered or of_set
