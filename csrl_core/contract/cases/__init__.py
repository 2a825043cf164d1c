"""The cases on which backends are compared with the reference: one module a kernel stem.

Every module has a list ``CASES``. Adding a stem to the contract means adding its module here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from csrl_core import contract


@dataclass(frozen=True)
class Case:
    """One call of one kernel.

    ``arguments(dtype)`` builds the positional arguments afresh on every call, always the same
    values. Which of them change in place is the contract's to say.
    """

    stem: str
    function: str
    name: str
    arguments: Callable[[np.dtype], list]

    def __str__(self):
        return f"{self.stem}.{self.function}[{self.name}]"


def all_cases(stem=None):
    """The cases of one stem, or of every stem in the contract's order."""
    stems = contract.STEMS if stem is None else [stem]
    return [case for name in stems for case in import_module(f"csrl_core.contract.cases.{name}").CASES]
