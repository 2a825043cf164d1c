"""All backends agree with the reference on all cases, and broken kernels are caught."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core import contract
from csrl_core.contract import verify
from csrl_core.contract.cases import Case, all_cases

DTYPES = ["float32", "float64"]


def _sensitive(*values):
    return pytest.param(*values, marks=pytest.mark.sensitive)


# The reference beside itself says that every case is a test at all. Another processor's kernels are compiled for one
# dtype alone, in which roundings are the largest.
@pytest.mark.parametrize(
    ("name", "dtype"), [_sensitive("numpy", "float32"), _sensitive("numba", "float32"), ("numba", "float64")]
)
@pytest.mark.parametrize("function", contract.CONTRACT, ids=".".join)
def test_agreement(function, name, dtype):
    if function[0] in backend.get(name).missing:
        pytest.skip(f"{name} has no kernels of {function[0]} yet")
    results = [verify.check(case, name, dtype) for case in all_cases(function[0]) if case.function == function[1]]
    assert results
    assert not [str(result) for result in results if not result.ok]


def _fake(stem, function, kernel):
    return SimpleNamespace(name="fake", **{stem: SimpleNamespace(**{function: kernel})})


def _failures(stem, function, kernel, dtype):
    """The cases of a function that fail with this kernel in the reference's place."""
    fake = _fake(stem, function, kernel)
    results = [verify.check(case, fake, dtype) for case in all_cases(stem) if case.function == function]
    return [result for result in results if not result.ok]


def _reference(stem, function):
    return getattr(getattr(backend.get("numpy"), stem), function)


def _nan(original):
    def kernel(losses, assign, weights):
        return np.nan, original(losses, assign, weights)[1]

    return kernel


def _nan_in_place(original):
    def kernel(params, *rest):
        original(params, *rest)
        params[-1] = np.nan

    return kernel


def _off(original):
    def kernel(*arguments):
        sums, totals, counts = original(*arguments)
        sums[0, 0] *= 1 + 1e-3
        return sums, totals, counts

    return kernel


def _off_in_place(original):
    def kernel(params, *rest):
        original(params, *rest)
        params[0] *= 1.001

    return kernel


def _last_of_ties(original):
    def kernel(costs):
        return costs.shape[1] - 1 - original(costs[:, ::-1])

    return kernel


def _nan_is_lowest(original):
    return lambda costs: np.argmin(costs, axis=1)


def _swapped(original):
    def kernel(params, gradient, scale, velocity, learning_rate, momentum):
        original(params, gradient, scale, velocity, momentum, learning_rate)

    return kernel


def _one_step_late(original):
    def kernel(*arguments):
        arguments = list(arguments)
        arguments[5] += 1
        original(*arguments)

    return kernel


def _one_bit(original):
    def kernel(*arguments):
        return np.nextafter(original(*arguments), np.asarray(2, arguments[-1]))

    return kernel


def _one_count(original):
    def kernel(*arguments):
        moved = original(*arguments)
        arguments[-1][0] += 1
        return moved

    return kernel


def _other_return(original):
    return lambda *arguments: original(*arguments) + 1


def _not_in_place(original):
    def kernel(sums, totals, centers, b):
        original(sums, totals, centers.copy(), b)

    return kernel


BROKEN = {
    "NaN returned": ("assign", "objective", _nan),
    "NaN in place": ("optimizer", "adam", _nan_in_place),
    "off by 1e-3": ("assign", "cluster_sums", _off),
    "off by 1e-3 in place": ("optimizer", "update", _off_in_place),
    "wrong tie-break": ("assign", "assign", _last_of_ties),
    "NaN taken for the lowest": ("assign", "assign", _nan_is_lowest),
    "swapped arguments": ("optimizer", "sgd", _swapped),
    "bias correction of the next step": ("optimizer", "adam", _one_step_late),
    "one unit in the last place of a uniform": ("philox", "uniform", _one_bit),
    "one count": ("assign", "move", _one_count),
    "one sample": ("assign", "move", _other_return),
    "left undone": ("assign", "means", _not_in_place),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("stem", "function", "broken"), BROKEN.values(), ids=BROKEN)
def test_broken_kernels_are_caught(stem, function, broken, dtype):
    original = _reference(stem, function)
    assert not _failures(stem, function, original, dtype)  # the fake itself is not what fails
    assert _failures(stem, function, broken(original), dtype)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda losses, assign, weights: (1.0,), "1 values returned, 2 values expected"),
        (lambda losses, assign, weights: 1.0, "one value, no tuple, returned, 2 values expected"),
        (lambda losses, assign, weights: (np.zeros(2), 1.0), r"return\[0\] has shape \(2,\), expected \(\)"),
        (lambda losses, assign, weights: (np.float32(1), 1.0), r"return\[0\] has dtype float32, expected float64"),
        (lambda losses, assign, weights: weights.fill(7), "argument weights was changed"),
        (lambda losses: (1.0, 1.0), "TypeError: .* takes 1 positional argument but 3 were given"),
    ],
)
def test_what_no_tolerance_covers(kernel, message):
    results = _failures("assign", "objective", kernel, "float32")
    assert len(results) == sum(case.function == "objective" for case in all_cases("assign"))
    for result in results:
        assert result.worst_error == np.inf
        assert re.search(message, result.where)


def test_a_case_that_would_pass_anything_is_refused():
    # The two terms cancel but for what float32 cannot hold: any float32 answer would be within budget.
    def cancelling(dtype):
        return [np.array([[0.1], [-0.1 * (1 + 2**-22)]], dtype), np.zeros(2, np.int64), np.full(2, 3, dtype)]

    result = verify.check(Case("assign", "objective", "cancelling", cancelling), "numpy", "float32")
    assert not result.ok
    assert result.where.startswith("no test: the reference in float32 misses its own return[0]")


def test_the_budget_follows_the_reference_and_the_floor():
    case = next(case for case in all_cases("optimizer") if str(case) == "optimizer.squared_norm[several chunks]")
    budgets = {}
    for dtype in DTYPES:
        result = verify.check(case, "numpy", dtype)
        norm = _reference("optimizer", "squared_norm")(case.arguments(np.dtype(dtype))[0])
        # The reference adds up in float64 and makes no float32 error: the floor is all there is.
        floor = contract.TOLERANCES["sum"].floor * np.finfo(dtype).eps * norm
        assert result.budget == pytest.approx(floor, rel=1e-6)
        budgets[dtype] = result.budget
    assert budgets["float64"] < 1e-8 * budgets["float32"]


def test_table():
    results = verify.verify(
        ["numpy", _fake("assign", "assign", _reference("assign", "nearest"))], ["assign"], ["float64"]
    )
    text = verify.table(results)
    cases = sum(case.function == "assign" for case in all_cases("assign"))
    lines = {tuple(line.split()[:4]): line for line in text.splitlines() if line}
    assert lines["assign.assign", "numpy", "float64", str(cases)].endswith(" ok")
    assert lines["assign.assign", "fake", "float64", str(cases)].endswith(f" {cases} FAILED")
    assert text.count("TypeError") == cases
    assert len(results) == 2 * len(all_cases("assign"))
