"""``equicomir data``: public data sets of image pairs, listed and fetched."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from equicomir.commands.options import Flat, Output, parsed
from equicomir.images.published import PUBLISHED, Published, cache_folder, fetch


@dataclass(frozen=True, kw_only=True)
class Data:
    """Public data sets of image pairs: list them, or fetch one.

    Nothing is downloaded but by fetch, which goes on where it broke off. The environment variable
    EQUICOMIR_DATA names the folder in which they are kept.

    For example:

        equicomir data list

        equicomir data fetch lu --matching "Zurich*"

    Attributes:
        act: "list", or "fetch".
        name: Of the set to fetch.
        matching: Which of its files, with * for anything.
        output: How the command speaks.
    """

    act: tyro.conf.Positional[Literal["list", "fetch"]] = "list"
    name: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME", help_behavior_hint="")
    ] = ""
    matching: str = "*"
    output: Annotated[Output, Flat] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    """List or fetch; as :func:`equicomir.cli.main`.

    Raises:
        ValueError: an option or a file will not do; it is named.
    """
    options = parsed(Data, arguments, prog="equicomir data")
    if options.act == "list":
        if options.name:
            raise ValueError(f"expected no name after list, got {options.name!r}.")
        for published in PUBLISHED.values():
            options.output.say(_lines(published))
        options.output.say(f"They are kept in {cache_folder()}.")
        options.output.tell({"sets": [_facts(published) for published in PUBLISHED.values()]})
        return 0
    if options.name not in PUBLISHED:
        raise ValueError(
            f"fetch: expected a set of {', '.join(PUBLISHED)}, got {options.name or 'no name'}."
        )
    with options.output.progress(f"fetching {options.name}", None):
        folder = fetch(PUBLISHED[options.name], matching=options.matching)
    options.output.say(f"{folder}: {PUBLISHED[options.name].layout}")
    options.output.tell({"folder": str(folder)})
    return 0


def _folder(published: Published) -> Path | None:
    folder = cache_folder() / published.name
    return folder if folder.is_dir() else None


def _facts(published: Published) -> dict[str, Any]:
    folder = _folder(published)
    return {
        "name": published.name,
        "modalities": published.modalities,
        "doi": published.doi,
        "licence": published.licence,
        "citation": published.citation,
        "folder": None if folder is None else str(folder),
    }


def _lines(published: Published) -> str:
    """What a person wants to know before fetching it."""
    here = "" if _folder(published) is None else " (a folder of it is there)"
    return (
        f"{published.name}{here}: {', '.join(published.modalities)}\n"
        f"  doi {published.doi}; licence: {published.licence}\n"
        f"  {published.citation}\n"
    )
