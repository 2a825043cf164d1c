"""Do the backends agree with the reference on this machine?

    from csrl_core import verify
    print(verify.table(verify.verify(["numba"], stems=["assign"])))    # by default all stems
    print(verify.table(verify.verify(["their.package"])))      # see csrl_core.contract.third_party

Every case is run by the reference in float64 on the arguments as the backend gets them (for float32:
rounded first), and by the backend. Integers must be equal. An array of floats may differ by

    eps(dtype) · (2 r + floor · max|expected|),     r = error of the reference in float32 / eps(float32)

with the floor of the function's tolerance class (``contract.TOLERANCES``). NaN fails, another shape or
dtype fails, and so does a change in an argument that the contract does not let change.
"""

import time
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby

import numpy as np

from csrl_core import backends as backends_
from csrl_core import contract
from csrl_core.contract.cases import all_cases
from csrl_core.contract.third_party import resolve

DTYPES = (np.float32, np.float64)


@dataclass(frozen=True)
class Result:
    """One case on one backend in one dtype.

    ``worst_error`` and ``budget`` belong to the entry ``where``, the one nearest to or furthest over
    its budget; where something else is wrong, ``where`` says what and the error is infinite.
    ``seconds`` is the one call, compilation included if it was the first.
    """

    stem: str
    function: str
    case: str
    dtype: str
    backend: str
    worst_error: float
    budget: float
    where: str
    seconds: float
    ok: bool

    @property
    def ratio(self):
        """The error as a part of the budget."""
        return _ratio(self.worst_error, self.budget)

    def __str__(self):
        state = "ok" if self.ok else "FAILED"
        return (
            f"{self.stem}.{self.function}[{self.case}] {self.backend} {self.dtype}: {state}, "
            f"error {self.worst_error:.3g} of {self.budget:.3g} at {self.where}"
        )


def _ratio(error, budget):
    return error / budget if budget > 0 else np.inf if error > 0 else 0.0


def check(case, backend, dtype):
    """Compare one case with the reference.

    Parameters
    ----------
    case : csrl_core.contract.cases.Case
    backend : str, a backend's or a package's name, or object with ``name`` and one attribute per stem
    dtype : float32 or float64

    Returns
    -------
    Result
    """
    if isinstance(backend, str):
        backend = resolve(backend)
    dtype = np.dtype(dtype)
    entry = contract.CONTRACT[case.stem, case.function]

    def result(error, budget, where, seconds, ok):
        return Result(
            *(case.stem, case.function, case.name, dtype.name, backend.name),
            *(float(error), float(budget), where, seconds, bool(ok)),
        )

    start = time.perf_counter()
    try:
        budgets = _budgets(case)
        # Where nothing comes in the working dtype, all is float64 whatever the dtype asked for.
        working = dtype if any(a.dtype in ("float", "dtype") for a in entry.leaves) else np.dtype(np.float64)
        expected, typical = _references(case, dtype)
        arguments = _send(entry, backend, case.arguments(dtype))
        start = time.perf_counter()
        got = _run(entry, _function(backend, case), arguments)
        seconds = time.perf_counter() - start
        _check_untouched(entry, arguments, case.arguments(dtype))
        if list(got) != list(expected):
            raise _Wrong(f"{_returned(got)} returned, {_returned(expected)} expected")
        worst = max(
            (_compare(name, got[name], expected[name], typical[name].dtype, *budgets[name], working) for name in got),
            key=lambda entry: _ratio(*entry[:2]),
        )
    except _Wrong as wrong:
        return result(np.inf, 0, str(wrong), time.perf_counter() - start, False)
    except Exception as error:  # a kernel that raises is one line of the table; the others are still run
        return result(np.inf, 0, f"{type(error).__name__}: {error}", time.perf_counter() - start, False)
    error, budget, where = worst
    return result(error, budget, where, seconds, error <= budget)


def verify(backends=("numba",), stems=None, dtypes=DTYPES):
    """Run all cases of the stems on the backends.

    Parameters
    ----------
    backends : iterable of names or backend objects; of a package, the stems that it has
    stems : iterable of str, None for all of the contract
    dtypes : iterable of float32, float64

    Returns
    -------
    list of Result
    """
    backends = [resolve(backend) if isinstance(backend, str) else backend for backend in backends]
    return [
        check(case, backend, dtype)
        for stem in stems or contract.STEMS
        for case in all_cases(stem)
        for backend in backends
        if stem not in getattr(backend, "missing", ())
        for dtype in dtypes
    ]


def table(results):
    """One line per function, backend and dtype, with the case nearest to its budget; what failed is listed below."""
    header = ("function", "backend", "dtype", "cases", "worst error", "budget", "where", "seconds", "")
    rows = [header]

    def key(result):
        return f"{result.stem}.{result.function}", result.backend, result.dtype

    order = {name: i for i, name in enumerate(dict.fromkeys(key(result) for result in results))}
    for name, group in groupby(sorted(results, key=lambda result: order[key(result)]), key=key):
        group = list(group)
        worst = max(group, key=lambda result: result.ratio)
        where = f"{worst.case}: {worst.where}" if worst.worst_error and worst.ok else "-"
        seconds = sum(result.seconds for result in group)
        passed = sum(result.ok for result in group)
        state = "ok" if passed == len(group) else f"{len(group) - passed} FAILED"
        error = f"{worst.worst_error:.2g}", f"{worst.budget:.2g}"
        rows.append((*name, str(len(group)), *error, where, f"{seconds:.2g}", state))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths).rstrip())
    failed = [str(result) for result in results if not result.ok]
    if failed:
        lines += ["", *failed]
    return "\n".join(lines)


def _function(backend, case):
    function = getattr(getattr(backend, case.stem), case.function, None)
    if function is None:
        raise _Wrong(f"{backend.name} has no function {case.function} in its stem {case.stem}")
    if not callable(function):
        raise _Wrong(f"{backend.name}'s {case.stem}.{case.function} is no function but a {type(function).__name__}")
    return function


class _Wrong(Exception):
    """A fault that no tolerance covers."""


def _wide(entry, arguments):
    """The same values in float64."""

    def wide(spec, value):
        if spec.dtype == "dtype":
            return np.float64
        return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value

    return entry.mapped(wide, arguments)


def _run(entry, function, arguments):
    """Call the function; what it returned and what it changed in place, as named arrays."""
    if len(arguments) != len(entry.arguments):
        raise _Wrong(f"the case has {len(arguments)} arguments, the contract {len(entry.arguments)}")
    returned = function(*arguments)
    values = {}
    if returned is not None:
        several = isinstance(returned, (tuple, list))
        for i, value in enumerate(returned if several else [returned]):
            values[f"return[{i}]" if several else "return"] = backends_.as_numpy(value)
    for spec, value in zip(entry.leaves, entry.values(arguments), strict=True):
        if spec.in_place:
            values[spec.name] = backends_.as_numpy(value)
    return values


def _returned(values):
    """How many values of `_run` were returned."""
    if "return" in values:
        return "one value, no tuple,"
    return f"{sum(name.startswith('return[') for name in values)} values"


def _send(entry, backend, arguments):
    """The arguments as the backend takes them: arrays on its device, with gaps where they have some."""
    if not getattr(backend, "on_device", False):
        return arguments

    def send(spec, value):
        if not isinstance(value, np.ndarray) or spec.on_host:
            return value
        gap = 1 if value.flags.c_contiguous else 2
        place = backend.xp.empty((*value.shape[:-1], gap * value.shape[-1]), value.dtype)[..., ::gap]
        place[...] = backend.xp.asarray(value)
        return place

    return entry.mapped(send, arguments)


@lru_cache(maxsize=256)
def _references(case, dtype):
    """Results of the reference on a case's arguments in a dtype: when it computes in float64, and in that dtype.

    Kept for the other backends, as many as the cases of one function in both dtypes.
    """
    entry = contract.CONTRACT[case.stem, case.function]
    reference = getattr(getattr(backends_.get("numpy"), case.stem), case.function)
    expected = _run(entry, reference, _wide(entry, case.arguments(dtype)))
    return expected, expected if dtype == np.float64 else _run(entry, reference, case.arguments(dtype))


@cache
def _budgets(case):
    """(error of the reference in float32 in units of eps, floor) of every result; `_Wrong` where the case is no test.

    The same for every backend and dtype.
    """
    expected, got = _references(case, np.dtype(np.float32))
    floor = contract.TOLERANCES[contract.CONTRACT[case.stem, case.function].tolerance].floor
    budgets = {}
    for name, wanted in expected.items():
        if wanted.dtype.kind != "f":
            if not np.array_equal(got[name], wanted):
                raise _Wrong(f"no test: the reference's {name} is another in float32 than in float64")
            budgets[name] = 0.0, 0.0
            continue
        error = np.abs(got[name].astype(np.float64) - wanted).max(initial=0.0)
        if not error <= contract.WELL_POSED * np.abs(wanted).max(initial=0.0):
            raise _Wrong(f"no test: the reference in float32 misses its own {name} by {error:.3g}")
        budgets[name] = error / np.finfo(np.float32).eps, floor
    return budgets


def _check_untouched(entry, arguments, fresh):
    for spec, value, before in zip(entry.leaves, entry.values(arguments), entry.values(fresh), strict=True):
        value = backends_.as_numpy(value) if backends_.is_device_array(value) else value
        same = not isinstance(value, np.ndarray) or np.array_equal(value, before, equal_nan=value.dtype.kind == "f")
        if not (spec.in_place or same):
            raise _Wrong(f"argument {spec.name} was changed")


def _compare(name, got, expected, result_dtype, own, floor, dtype):
    """(error, budget, where) at the entry with the largest error."""
    if got.shape != expected.shape:
        raise _Wrong(f"{name} has shape {got.shape}, expected {expected.shape}")
    if got.dtype != result_dtype:
        raise _Wrong(f"{name} has dtype {got.dtype}, expected {result_dtype}")
    if not got.size:
        return 0.0, 0.0, name
    if got.dtype.kind != "f":
        error = (got != expected).astype(np.float64)
        budget = 0.0
    else:
        if not np.isfinite(expected).all():
            raise _Wrong(f"no test: the reference's {name} is not finite")
        error = np.abs(got.astype(np.float64) - expected)
        error = np.where(np.isnan(error), np.inf, error)
        budget = np.finfo(dtype).eps * (2 * own + floor * np.abs(expected).max()) if floor else 0.0
    at = np.unravel_index(int(error.argmax()), error.shape)
    return float(error[at]), budget, name + (str([int(i) for i in at]) if at else "")
