"""The contract of every stem, one file each: its functions and the cases on which backends are compared.

A stem is a file ``reference/<stem>.py`` with a file of the same name here, which has

FUNCTIONS  a `Kernel` for each function of the reference that backends have
ARGUMENTS  name → (shape, dtype, meaning), of arguments that only this stem has
CONSTANTS  names of the codes and tables that every backend shares with the reference
CASES      a list of `Case`, some for each function
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from csrl_core.contract.entries import ON_HOST, Case, Kernel

__all__ = ["ON_HOST", "Case", "Kernel", "all_cases", "load", "stems"]


@cache
def stems():
    """The names of all stems, in alphabetical order: a tuple.

    Raises
    ------
    ImportError
        A file here has no reference of the same name.
    """
    reference = Path(__file__).parents[2] / "reference"
    found = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))
    for stem in found:
        if not (reference / f"{stem}.py").exists():
            raise ImportError(f"csrl_core/contract/cases/{stem}.py has no reference/{stem}.py to compare with")
    return found


def load(stem):
    """The module of one stem."""
    return import_module(f"csrl_core.contract.cases.{stem}")


def all_cases(stem=None):
    """The cases of one stem, or of every stem in the contract's order."""
    return [case for name in (stems() if stem is None else [stem]) for case in load(name).CASES]
