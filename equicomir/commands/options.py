"""Options: how dataclasses become a command line, and how a command speaks.

A setting has one place, its dataclass: name, type, default and explanation are taken from there,
and nothing is written a second time for the command line.
"""

import contextlib
import inspect
import io
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from equicomir.images.augmentation import Augmentation
from equicomir.losses.weighted import Penalties
from equicomir.representations import EncoderSettings
from equicomir.training.settings import TrainingSettings

Options = TypeVar("Options")
#: Everything that is settled by :mod:`equicomir.training.settings_file` too.
_SETTINGS = (TrainingSettings, EncoderSettings, Augmentation, Penalties)
#: Settings that have options of their own, and of which none is meant where all are as by default.
_OF_THEIR_OWN = {"augmentation": Augmentation(), "penalties": Penalties()}
_RULES = ConstructorRegistry()

_PLACE = "@"  # of the description in the help, whose lines tyro would break anew
#: An option whose own fields stand beside the others, without its name before theirs.
Flat = tyro.conf.arg(name="")
#: A folder of a model, which must be named.
Model = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
#: Nothing but ``--name``, no ``--no-name``.
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]
#: Folders of images, of which some command needs none.
Folders = tyro.conf.arg(metavar="FOLDER FOLDER ...", help_behavior_hint="")
#: A file or folder that need not be named.
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
#: A modality that need not be named.
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]


@dataclass(frozen=True)
class Output:
    """How a command speaks.

    Attributes:
        quiet: No progress bar and no report; errors alone.
        json: The report as one JSON object on standard output, for programs.
    """

    quiet: Switch = False
    json: Switch = False

    def say(self, line: str) -> None:
        """Print a line for a person."""
        if not (self.quiet or self.json):
            print(line)

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Print the facts for a program, where it asked for them."""
        if self.json:
            print(json.dumps(facts, allow_nan=False))

    @contextmanager
    def progress(self, label: str, total: float | None) -> Iterator[Any]:
        """A bar on standard error; what is yielded is called with how much more is done.

        Args:
            label: before the bar.
            total: how much there is to do; None where that is not known.

        Returns:
            A context manager, which gives a function of how much more is done.
        """
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), disable=self.quiet) as bar:
            task = bar.add_task(label, total=total)
            yield lambda more: bar.advance(task, more)


def parsed(
    kind: type[Options], arguments: Sequence[str], *, prog: str, default: Options | None = None
) -> Options:
    """The options of a command, from its command line.

    Args:
        kind: a dataclass; its docstring is the help.
        arguments: after the command's name.
        prog: the command as it was called, for help and errors.
        default: what holds where the command line says nothing.

    Returns:
        The options.

    Raises:
        ValueError: the command line is not understood: in one sentence.
        SystemExit: help was asked for and printed.

    Example:
        >>> parsed(Output, ["--json"], prog="equicomir demo")
        Output(quiet=False, json=True)
    """
    shown, said = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
            options: Options = tyro.cli(
                kind,
                args=list(arguments),
                prog=prog,
                description=_PLACE,
                default=tyro.MISSING_NONPROP if default is None else default,
                registry=_RULES,
            )
            return options
    except SystemExit as ended:
        if ended.code:
            sentence = _sentence(said.getvalue(), arguments)
            raise ValueError(f"{sentence}; {prog} --help tells more.") from None
        lines = shown.getvalue().replace(_PLACE, _description(kind)).splitlines()
        print("\n".join(line.rstrip() for line in lines).rstrip())
        raise


def folder_to_write(folder: Path, *, holds: str = "") -> Path:
    """A folder for results, made if it is not there, before any long work is begun.

    Args:
        folder: asked for.
        holds: the file that a folder of earlier results would hold; empty where any will do.

    Returns:
        The folder.

    Raises:
        ValueError: it cannot be made or written, or holds earlier results.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".equicomir"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"{folder}: expected a folder that can be written, got: {error.strerror}; choose "
            f"another."
        ) from error
    if holds and (folder / holds).exists():
        raise ValueError(
            f"{folder}: expected an empty folder, got one with {holds} of an earlier run; choose "
            f"another, or remove it."
        )
    return folder


def _description(kind: Any) -> str:
    """A dataclass's docstring up to its attributes, for a terminal of 80 columns."""
    text = inspect.getdoc(kind) or ""
    paragraphs = text.partition("Attributes:")[0].strip().split("\n\n")
    return "\n\n".join(
        p if p.startswith("    ") else textwrap.fill(_plain(p), 79) for p in paragraphs
    )


@_RULES.struct_rule
def _settings(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Settings as options, each with the explanation of its dataclass."""
    if info.type not in _SETTINGS:
        return None
    default = info.default if isinstance(info.default, info.type) else info.type()
    hints, told = get_type_hints(info.type), _explanations(info.type)
    options = []
    for field in fields(info.type):
        hint, value = hints[field.name], getattr(default, field.name)
        if field.name in _OF_THEIR_OWN:
            nothing = _OF_THEIR_OWN[field.name]
            hint, value = type(nothing), value or nothing
        options.append(StructFieldSpec(field.name, hint, value, told.get(field.name)))

    def made(**values: Any) -> Any:
        for name, nothing in _OF_THEIR_OWN.items():
            if values.get(name) == nothing:
                values[name] = None
        return replace(default, **values)

    return StructConstructorSpec(made, tuple(options))


def _explanations(kind: Any) -> dict[str, str]:
    """What a dataclass's docstring says of each attribute, as plain text."""
    text = (kind.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", text, re.MULTILINE)
    return {name: _plain(said) for name, said in entries}


def _plain(text: str) -> str:
    """Text of a docstring without its markup, as a terminal shows it."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text).replace("``", "")
    return " ".join(text.split())


def _sentence(box: str, arguments: Sequence[str]) -> str:
    """What tyro says of a command line, as one sentence: what was expected, what came."""
    sections: list[list[str]] = [[]]
    for line in box.splitlines():
        if line.strip() and set(line.strip()) <= {"-"}:
            sections.append([])
        elif line.strip():
            sections[-1].append(line)
    texts = [" ".join(map(str.strip, lines)) for lines in sections]
    said = texts[1] if len(texts) > 1 else texts[0]
    if wrong := re.match(r"Error parsing (--[\w.-]+):", said):
        (shown,) = re.findall(rf"^.*{re.escape(wrong[1])} (.+)$", "\n".join(sections[2]), re.M)[:1]
        return f"{wrong[1]}: expected {_words(shown.strip())}, got {_after(wrong[1], arguments)}"
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of", said):
        known = ", ".join(re.findall(r"'([^']*)'", said[choice.end() :]))
        return f"{choice[2]}: expected one of {known}, got {choice[1]!r}"
    if said.startswith("Missing from"):
        margins = [len(line) - len(line.lstrip()) for line in sections[1][1:]]
        names = [
            re.sub(r"^(--\S+) .*", r"\1", line.strip())
            for line, margin in zip(sections[1][1:], margins, strict=True)
            if margin == min(margins)  # explanations are further in
        ]
        return f"expected {' and '.join(names)}, got none"
    if lone := re.match(r"Missing value for argument '(.*?)'", said):
        return f"{lone[1]}: expected a value, got none"
    if said.startswith("Unrecognized"):
        meant = re.search(r"Perhaps you meant:\s*(--[\w.-]+)", " ".join(texts))
        perhaps = f"; perhaps you meant {meant[1]}" if meant else ""
        return f"expected options that there are, got {said.partition(': ')[2]}{perhaps}"
    return re.sub(r"^Error parsing \S+: ", "", said).rstrip(".")


def _words(shown: str) -> str:
    """The kind of a value, as tyro shows it, in words."""
    named = {"{None}": "None", "INT": "a whole number", "FLOAT": "a number", "STR": "a word"}
    inner = re.sub(r"^\[(\S+) .*", r"\1", shown)
    return " or ".join(named.get(kind, kind) for kind in inner.split("|"))


def _after(option: str, arguments: Sequence[str]) -> str:
    """The values that follow an option."""
    values: list[str] = []
    taken = False
    for word in arguments:
        name, equals, value = word.partition("=")
        if name == option:
            values = [value] if equals else []
            taken = not equals
        elif word.startswith("--"):
            taken = False
        elif taken:
            values.append(word)
    return " ".join(values) or "nothing"
