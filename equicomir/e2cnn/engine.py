"""escnn, imported once without its warning: the engine under every name of this room."""

import warnings

with warnings.catch_warnings():
    # py3nj serves SO(3) only; in the plane it is never used.
    warnings.filterwarnings("ignore", message=".*py3nj.*", category=UserWarning)
    import escnn
    import escnn.group
    import escnn.gspaces
    import escnn.nn

__all__ = ["escnn"]
