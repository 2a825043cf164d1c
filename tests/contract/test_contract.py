"""Every backend has the same functions, arguments and constants, and the contract says which."""

import inspect

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core import contract
from csrl_core.contract.cases import Kernel, all_cases

TWINS = ["numba"]
ENTRIES = [pytest.param(entry, id=f"{entry.stem}.{entry.name}") for entry in contract.CONTRACT.values()]


def _python(function):
    """The Python function behind a compiled one."""
    return getattr(function, "py_func", function)


def _stem(name, stem):
    if stem in backend.get(name).missing:
        pytest.skip(f"{name} has no kernels of {stem} yet")
    return getattr(backend.get(name), stem)


@pytest.mark.parametrize("name", ["numpy", *TWINS])
@pytest.mark.parametrize("entry", ENTRIES)
def test_signatures(entry, name):
    function = _python(getattr(_stem(name, entry.stem), entry.name))
    assert tuple(inspect.signature(function).parameters) == entry.signature


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("stem", contract.STEMS)
def test_constants(stem, name):
    for constant in contract.CONSTANTS[stem]:
        assert getattr(_stem(name, stem), constant) == getattr(_stem("numpy", stem), constant), constant


@pytest.mark.parametrize("stem", contract.STEMS)
def test_cases_cover_the_contract(stem):
    cases = all_cases(stem)
    assert {case.function for case in cases} == {entry.name for entry in contract.functions(stem)}
    names = [(case.function, case.name) for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        assert case.stem == stem
        entry = contract.CONTRACT[stem, case.function]
        first, second = (case.arguments(np.dtype(np.float32)) for _ in range(2))
        for spec, a, b in zip(entry.leaves, entry.values(first), entry.values(second), strict=True):
            same = np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else True
            assert same, f"{case}: {spec.name} is not the same twice"
            assert not (spec.in_place and np.shares_memory(a, b)), f"{case}: {spec.name} is not built afresh"
            if isinstance(a, np.ndarray) and spec.dtype in ("float", "float64", "int64", "uint32"):
                # Centres may be kept in float64 where the kernel takes either.
                wanted = {"float": {"float32", "float64"} if spec.name == "centers" else {"float32"}}
                assert a.dtype.name in wanted.get(spec.dtype, {spec.dtype}), f"{case}: {spec.name} is {a.dtype}"


def test_the_table_itself():
    assert {entry.stem for entry in contract.CONTRACT.values()} == set(contract.STEMS) == set(contract.CONSTANTS)
    for entry in contract.CONTRACT.values():
        assert entry.tolerance in contract.TOLERANCES
        assert entry.unit in contract.UNITS
    assert all(tolerance.reason for tolerance in contract.TOLERANCES.values())
    assert contract.CONTRACT["assign", "move"].in_place == (3, 5, 6, 7)
    # what couples rows
    assert {stem for stem, _ in contract.BATCH_FUNCTIONS} <= {"contrastive", "instance", "network", "norm"}
    assert {"key", "layers", "betas"} <= {*contract.HOST_ARGUMENTS}


@pytest.mark.parametrize("stem", contract.STEMS)
def test_describe(stem):
    text = contract.describe(stem)
    for entry in contract.functions(stem):
        assert f"{stem}.{entry.name}({', '.join(entry.signature)})" in text
    assert text.count("changed in place") == sum(len(entry.in_place) for entry in contract.functions(stem))


def test_unknown_stem():
    with pytest.raises(ValueError, match="stem='dens' is unknown; expected one of assign, "):
        contract.describe("dens")


def test_stems_are_found_beside_their_references():
    assert set(contract.STEMS) >= {"assign", "autoencoder", "dense", "mixture", "optimizer", "philox", "rbm"}
    for stem in contract.STEMS:
        assert getattr(backend.get("numpy"), stem).__name__ == f"csrl_core.reference.{stem}"
    assert not {"sigmoid", "rbm_exact"} & {*contract.STEMS}  # parts of the reference that are no stems
    assert {*contract.STEMS} <= {*dir(backend.get("numpy"))}


def _toy(x, changed):
    return x


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Kernel(_toy, "", "sum", "sample"), "cases/toy.py does not describe the argument changed of _toy"),
        (Kernel(_toy, "", "some", "sample"), "gives the tolerance 'some', expected one of exact, elementwise, sum"),
        (Kernel(_toy, "", "sum", "row"), "gives the unit 'row', expected one of element, sample"),
        (Kernel(_toy, "", "sum", "sample", "y"), "changes the argument 'y', expected one of x, changed"),
    ],
)
def test_a_faulty_entry_is_named(kernel, message):
    described = {"x": ("(n,)", "float", "numbers")}
    if "describe" not in message:
        described["changed"] = described["x"]
    with pytest.raises(ImportError, match=message):
        kernel.entry("toy", described)
