"""How the script of every figure and table begins and ends: its options, and its mistakes."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def options(doc: str) -> argparse.ArgumentParser:
    """A command line with where records are read and figures written.

    Args:
        doc: of the script; its first line describes it.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("records"))
    parser.add_argument("--out", type=Path, default=Path("figures"))
    return parser


def run(name: str, main: Callable[[], None]) -> None:
    """Run a script; a mistake of records or folders is one sentence that says what to do."""
    try:
        main()
    except (ValueError, OSError) as mistake:
        sys.exit(f"{name}: {mistake}")
