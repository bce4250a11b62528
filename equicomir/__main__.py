"""``python -m equicomir`` is the command ``equicomir``, where that is not on the path."""

import sys

from equicomir.cli import main

if __name__ == "__main__":
    sys.exit(main())
