"""The mathematics in NumPy: one readable file per kernel stem, gradients derived by hand.

Imported as ``csrl_core.reference``. The folder stands beside the package in a checkout and inside
it in an installation, so any other import name is refused: no module is ever loaded twice.
"""

if __name__ != "csrl_core.reference":
    raise ImportError(f"import csrl_core.reference, not {__name__!r} (the name belongs to another package)")
