"""The command line: which commands there are, and what their exit status says.

Each command is a file of :mod:`equicomir.commands` with a ``main`` that takes the words after its
name and gives back an exit status. Only the one that was asked for is imported: torch takes
seconds, and ``--help`` needs none.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

#: What each command does, in the order in which a newcomer needs them.
COMMANDS = {
    "demo": "the whole path on one picture that is built in: train, register, look",
    "train": "learn representations from aligned images, a folder a modality",
    "register": "find how a moving image lies in a fixed one, and bring it there",
    "encode": "the representation of one image",
    "evaluate": "how often a model registers pairs whose displacement is known",
    "check": "whether what must hold of a model does (the gate)",
    "export": "the encoders as ONNX, for other programs",
    "data": "public data sets: list them, fetch one",
}
OK, MISTAKE, GATE_FAILED, UNTRUSTED, STOPPED = 0, 2, 3, 4, 130

_HELP = """usage: equicomir COMMAND ...

Learn one representation in which images of several modalities look alike, and
register new pairs through it, at any angle.

commands:
{commands}

Say `equicomir COMMAND --help` for its options and an example. A first try:

    equicomir train --images SHG/ HE/ --out model --minutes 10
    equicomir register model fixed.tif moving.tif --out registered

exit status: 0 success, 2 bad input, 3 something that must hold of a model does
not, 4 a registration that is not to be trusted, 130 stopped by Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after ``equicomir``; those of the process if None.

    Returns:
        The exit status: 0 for success; 2 for bad input, with one sentence on standard error; 3
        for a failed gate; 4 for a registration that is not to be trusted; 130 where it was
        stopped.

    Example:
        >>> main(["--version"])
        equicomir 0.1.0
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        lines = (f"  {command:<10}{claim}" for command, claim in COMMANDS.items())
        print(_HELP.format(commands="\n".join(lines)), file=sys.stdout if words else sys.stderr)
        return OK if words else MISTAKE
    if name == "--version":
        print(f"equicomir {importlib.metadata.version('equicomir')}")
        return OK
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        return _refused("equicomir", f"expected a command of {known}, got {name!r}.")
    try:
        status: int = importlib.import_module(f"equicomir.commands.{name}").main(words[1:])
        return status
    except SystemExit as ended:  # after its help
        if ended.code:
            raise
        return OK
    except KeyboardInterrupt:
        again = " say it again to go on" if name == "train" else " nothing was finished"
        _refused(f"equicomir {name}", f"stopped;{again}.")
        return STOPPED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or str(error) or type(error).__name__
        expected = "expected a file or folder that can be read or written"
        return _refused(f"equicomir {name}", f"{where}{expected}, got: {reason}.")
    except (ValueError, ImportError) as error:  # one sentence that says what to do; no traceback
        return _refused(f"equicomir {name}", str(error))


def _refused(who: str, sentence: str) -> int:
    print(f"{who}: {' '.join(sentence.split())}", file=sys.stderr)
    return MISTAKE
