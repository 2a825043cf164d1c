"""What tests of the command line share."""

from pathlib import Path

from typer.testing import CliRunner

from csrl_core.cli.app import app

IRIS = ["fit", "data:iris", "-k", "3", "--seed", "0", "--epochs", "20", "--backend", "numpy"]


def run(*args, code=0):
    """Run a command here; asserts its exit code. An exception that is no exit is raised."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def listing():
    """Names of the files in the working folder, hidden ones too."""
    return sorted(path.name for path in Path().iterdir())


def error_of(result):
    """The one line on standard error that says what is wrong."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]
