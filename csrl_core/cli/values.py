"""What a command line can give as the value of an estimator's argument: found in the argument's constraints."""

from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral

from csrl_core.cli.base import WrongUsage, integers


@dataclass(frozen=True)
class Values:
    """The values of an argument that a command line can give.

    number : int, float or None; least : the least int, None where any is; choices : names; flag, widths : bool;
    zero_is_none : whether 0, which is no value of its own, stands for None; none : whether the word "none" does
    """

    number: type | None = None
    least: int | None = None
    choices: frozenset = frozenset()
    flag: bool = False
    widths: bool = False
    zero_is_none: bool = False
    none: bool = False

    @property
    def names(self):
        """All that is typed as a word, in the order of the help."""
        return [*("yes", "no") * self.flag, *sorted(self.choices | {"none"} if self.none else self.choices)]

    @property
    def is_switch(self):
        """Whether the option is typed without a value only."""
        return self.flag and not (self.number or self.choices or self.none)

    def read(self, option, value):
        """The argument's value, from what was typed or what click made of it; WrongUsage where there is none."""
        value = getattr(value, "value", value)
        if value in self.choices or isinstance(value, bool):
            return value
        if value in self.names:
            return {"yes": True, "no": False, "none": None}[value]
        if self.number:
            try:
                number = self.number(value)
            except ValueError:
                number = None
            if number is None or (not isinstance(value, str) and number != value):
                raise self._unexpected(option, value, _A_NUMBER[self.number])
            if self.least is not None and number < self.least:
                raise self._unexpected(option, value, f"{_A_NUMBER[self.number]} of at least {self.least}")
            return None if self.zero_is_none and number == 0 else number
        if self.widths:
            return integers(option, value)
        raise self._unexpected(option, value)

    def accept(self, text):
        """Whether `read` has a value for what was typed."""
        try:
            self.read("", text)
        except WrongUsage:
            return False
        return True

    def _unexpected(self, option, value, *expected):
        return WrongUsage(f"{option} {value}: expected {' or '.join([*expected, *self.names])}")

    def __or__(self, other):
        """The values that either of two models takes; both take a flag, or neither does."""
        leasts = [each.least for each in (self, other) if each.number]
        return Values(
            number=float if float in (self.number, other.number) else self.number or other.number,
            least=None if None in leasts else min(leasts, default=None),
            choices=self.choices | other.choices,
            flag=self.flag,
            widths=self.widths or other.widths,
            none=self.none or other.none,
        )

    def annotation(self, name):
        """(type for typer, further settings of the option)."""
        if self.is_switch:
            return bool, {}
        if self.number and not (self.names or self.widths):
            return self.number, {"min": self.least} if self.number is int else {}
        if self.names and not (self.number or self.widths):
            return StrEnum(name, {word: word for word in self.names}), {}
        number = [_METAVAR[self.number]] if self.number else []
        return str, {"metavar": "|".join([*number, *self.names, *["W,W,…"] * self.widths])}


_A_NUMBER = {int: "an integer", float: "a number"}
_METAVAR = {int: "INTEGER", float: "FLOAT"}


def values_of(constraints):
    """`Values` of a list of scikit-learn's parameter constraints; None if a command line can give none of them."""
    from sklearn.utils._param_validation import Interval, StrOptions

    if constraints == ["random_state"]:
        return Values(int, 0, none=True)
    if constraints == ["verbose"]:
        return Values(int, 0)
    if isinstance(constraints, str):  # "no_validation"
        return None
    intervals = [each for each in constraints if isinstance(each, Interval)]
    choices = frozenset().union(*(each.options for each in constraints if isinstance(each, StrOptions)))
    flag = "boolean" in constraints
    widths = "array-like" in constraints and not choices  # beside names an array is labels or centres, say
    if not (intervals or choices or flag or widths):
        return None
    zero_is_none = None in constraints and bool(intervals) and not any(0 in each for each in intervals)
    number, least = _number_of(intervals)
    if least is not None and zero_is_none:
        least = min(least, 0)
    return Values(number, least, choices, flag, widths, zero_is_none, None in constraints and not zero_is_none)


def _number_of(intervals):
    """(int, float or None; the least int of all intervals, None where there is none)."""
    if not intervals or any(each.type is not Integral for each in intervals):
        return float if intervals else None, None
    leasts = [None if each.left is None else each.left + (each.closed in ("right", "neither")) for each in intervals]
    return int, None if None in leasts else min(leasts)
