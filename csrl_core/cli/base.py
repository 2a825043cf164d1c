"""What all commands of ``csrl`` share: errors, exit codes, common options. Imports only typer."""

import dataclasses
import functools
import inspect
import re
import sys
import warnings
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

EPILOG = (
    "Exit codes: 0 done; 1 failed, with the reason on standard error; 2 wrong usage; 130 interrupted (Ctrl-C), "
    "143 by SIGTERM, 129 by SIGHUP: what had been learnt is saved. DATA is a CSV, NPY or NPZ file, or data:NAME for a "
    "built-in set (data:iris)."
)


class WrongUsage(ValueError):
    """The command line itself is wrong: exit code 2, as for an unknown option."""


class Group(TyperGroup):
    """The group of all commands, in which ``--debug`` may stand anywhere."""

    def parse_args(self, ctx, args):
        """Move it to the front, where it belongs."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Backend = StrEnum("Backend", {name: name for name in ("auto", "numpy", "numba", "cupy", "emulated")})
_debug = False


def say(line):
    """A line for the user, on standard output at once."""
    typer.echo(line)
    sys.stdout.flush()


def integers(option, text):
    """The integers of an option's value, which are separated by commas."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise WrongUsage(f"{option} {text}: expected integers with commas in between, as in 28,28") from None


def check_address(address):
    """Refuse what cannot be the address of a Dask scheduler; None is none."""
    if address is not None and not re.fullmatch(r"((tcp|tls|ucx|wss?)://)?[^/\s]+:\d+", address):
        raise WrongUsage(f"--dask {address}: expected the address of a scheduler, as in tcp://host:8786")


def command(function):
    """Register a command, see `reporting`."""
    return app.command()(reporting(function))


def command_taking(record):
    """Register a function of one record as a command whose options are the record's fields.

    record : dataclass, fields annotated as typer has them
    """

    def register(function):
        def run(**given):
            return function(record(**given))

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        root = record.__mro__[-2]
        shared = set() if root is record else {field.name for field in dataclasses.fields(root)}
        fields = sorted(dataclasses.fields(record), key=lambda field: field.name in shared)  # those of the base last
        run.__signature__ = inspect.Signature([parameter(field) for field in fields])
        return command(run)

    return register


def parameter(field, **changes):
    """A field of a record as a parameter of a command; changes : of the parameter."""
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    kept = inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
    return kept.replace(**changes)


def reporting(function):
    """A command whose errors, where the user can act on them, are one line and an exit code."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        try:
            with _warnings_in_a_line():
                code = function(*args, **kwargs)
        except (BrokenPipeError, typer.Exit):
            raise
        except KeyboardInterrupt as ended:
            typer.echo("interrupted", err=True)
            raise typer.Exit(getattr(ended, "code", 130)) from None
        except Exception as error:
            if _debug or not _expected(error):
                raise
            raise reported(error) from None
        raise typer.Exit(code or 0)

    return run


def reported(error):
    """Show an error as one line; returns the exit with its code."""
    lines = str(error).strip().splitlines()  # scikit-learn's messages go on with general advice
    message = lines[0] if lines else type(error).__name__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        message = f"not enough memory: {message}"
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(2 if isinstance(error, WrongUsage) else 1)


@contextmanager
def _warnings_in_a_line():
    """Warnings are for the user: a line each, without the place in the program where they arose."""
    with warnings.catch_warnings():
        if not _debug:
            warnings.showwarning = lambda message, *place, **more: typer.echo(f"warning: {message}", err=True)
        yield


def _expected(error):
    own = [("csrl_core.backends", "BackendError"), ("csrl_core.training.loop", "NonFiniteLossError")]
    # One that is raised has been imported; importing them here would take seconds.
    kinds = [getattr(sys.modules[module], name) for module, name in own if module in sys.modules]
    return isinstance(error, (ValueError, OSError, ImportError, MemoryError, *kinds))


def _version(wanted):
    if wanted:
        from csrl_core._version import __version__

        say(f"csrl_core {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
):
    """Cluster-specific representation learning: clusters and their representations, learnt together."""
    global _debug
    _debug = debug


DataPath = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="CSV or other text, NPY, NPZ, IDX, Parquet; - for standard input; or data:NAME."
    ),
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model that csrl fit wrote.")]
BackendOption = Annotated[Backend, typer.Option(help="Which kernels compute.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Threads; default all usable cores.")]
OtherBackend = Annotated[Backend | None, typer.Option(help="Which kernels compute; default: as in the fit.")]
TableOut = Annotated[Path, typer.Option("--out", "-o", help="A .csv or .npy file.")]
ImageShape = Annotated[
    str | None, typer.Option("--image-shape", metavar="H,W", help="Samples are images of this shape; default square.")
]
Dask = Annotated[
    str | None,
    typer.Option("--dask", metavar="ADDRESS", help="Compute on the Dask cluster of this scheduler, tcp://host:port."),
]
ByPosition = Annotated[
    bool, typer.Option("--by-position", help="Take columns as they stand, whatever their names are.")
]
