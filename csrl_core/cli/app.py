"""The command ``csrl``: the groups of its commands, in the order in which the help shows them."""

from csrl_core.cli import learn  # noqa: F401 (each registers its commands)

# isort: split
from csrl_core.cli import answer  # noqa: F401

# isort: split
from csrl_core.cli import experiments  # noqa: F401

# isort: split
from csrl_core.cli import check  # noqa: F401

# isort: split
from csrl_core.cli.base import app

__all__ = ["app"]
