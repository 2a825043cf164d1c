"""The command ``csrl``: its entry point, which needs nothing but Python to say what is missing.

The commands are in `csrl_core.cli.app`; nothing but typer is imported before one of them runs.
"""

import sys


def main():
    """Run the command line; the exit code is 0, 1 (failed), 2 (wrong usage), 130 (Ctrl-C), 143 or 129 (signals)."""
    try:
        from csrl_core.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.exit(f"error: the command line needs {error.name}, which is not installed; pip install 'csrl_core[cli]'")
    app(prog_name="csrl")
