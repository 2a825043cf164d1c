"""The commands that examine this machine: ``csrl doctor`` and ``verify``. Imports only typer until one runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from csrl_core.cli.base import check_address, command, say

Dtypes = StrEnum("Dtypes", {name: name for name in ("float32", "float64", "both")})


@command
def doctor(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile all that default fits need, once for this machine and version.")
    ] = False,
    dtype: Annotated[Dtypes, typer.Option(help="For --warm: the dtype of the data that will be fitted.")] = Dtypes.both,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Also the workers of this scheduler, tcp://host:port.")
    ] = None,
):
    """Show what is installed, which backends work, threads, JIT cache and data; --warm compiles kernels."""
    check_address(dask)
    from csrl_core import doctor

    if warm:
        return 0 if doctor.warm(say, ("float64", "float32") if dtype is Dtypes.both else (dtype.value,)) else 1
    return 0 if _show(doctor.examine(dask)) else 1


def _show(findings):
    """Print the findings, section by section; returns whether all is as it should be."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    fine = True
    for section, rows in findings.items():
        console.print(Text(section, style="bold"))
        width = max(len(name) for name, _, _ in rows)
        for name, finding, good in rows:
            fine = fine and good is not False
            mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: (" ", "")}[good]
            console.print(Text(f"  {mark} ", style=style) + Text(f"{name.ljust(width)}  {finding}"))
    return fine


@command
def verify(
    backend: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="A backend, or a package with modules named like stems; may be repeated."),
    ] = ["numba"],  # noqa: B006
    stem: Annotated[list[str] | None, typer.Option(help="A kernel family; may be repeated; default: all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a case, for programs.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a report with all cases.")] = None,
):
    """Compare backends, or kernels of your own, with the NumPy reference on this machine."""
    import sys
    from dataclasses import asdict
    from json import dumps

    from csrl_core import contract
    from csrl_core.cli import files as cli_files
    from csrl_core.contract import report as verify_report
    from csrl_core.contract import verify as agreement
    from csrl_core.contract.third_party import resolve
    from csrl_core.training.atomic_files import write_atomically

    for name in stem or ():
        if name not in contract.STEMS:
            raise ValueError(f"--stem {name} is unknown; expected one of {', '.join(contract.STEMS)}")
    if html is not None:
        cli_files.check_outputs({"--html": (html, (".html",))}, [])
    sys.path.append(str(Path.cwd()))  # a package that is being written need not be installed
    backends = [resolve(name) for name in backend]
    stems = stem or list(contract.STEMS)
    missing = [(found.name, name) for found in backends for name in getattr(found, "missing", ()) if name in stems]
    results = agreement.verify(backends, stems)
    if json:
        for name, lacking in missing:
            say(dumps({"backend": name, "stem": lacking, "missing": True}))
        for result in results:
            say(dumps({name: str(value) if value == float("inf") else value for name, value in asdict(result).items()}))
    else:
        for name, lacking in missing:
            say(f"{name} has no stem {lacking}: not compared")
        say(agreement.table(results))
    if html is not None:
        with cli_files.naming(html):
            write_atomically(html, verify_report.html(results, missing).encode())
        (say if not json else lambda line: typer.echo(line, err=True))(f"report   {html}")
    if not results:
        raise ValueError(f"nothing was compared: no backend has a stem of {', '.join(stems)}")
    return 0 if all(result.ok for result in results) else 1
