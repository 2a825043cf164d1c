"""Arguments are written once: signatures, documentation and constraints of every estimator follow from the fields."""

import inspect

import pytest

from csrl_core import TensorizedRBM, estimators
from csrl_core.estimators.arguments import TrainingArguments, estimator
from csrl_core.estimators.base import BaseClusterSpecific

SHARED = list(inspect.signature(TrainingArguments).parameters)


@pytest.mark.parametrize("name", estimators.homes())
def test_every_argument_is_described_once_and_checked(name):
    cls = estimators.get(name)
    parameters = inspect.signature(cls).parameters
    assert set(SHARED) <= set(parameters) == set(cls._get_param_names())
    doc = inspect.getdoc(cls)
    section = doc[doc.index("Parameters\n---") :].partition("\nAttributes\n")[0]
    lines = [line for line in section.splitlines() if " : " in line and not line.startswith(" ")]
    described = [argument.strip() for line in lines for argument in line.partition(" : ")[0].split(",")]
    assert sorted(described) == sorted(parameters)
    assert set(cls._parameter_constraints) >= set(parameters) - {"hidden"}


def test_a_different_default_is_in_the_docstring():
    assert "batch_size : int or None, default=64" in TensorizedRBM.__doc__
    assert 'update : {"step-then-assign", "assign-then-step"}, default="assign-then-step"' in TensorizedRBM.__doc__


def test_a_class_without_a_docstring_gets_one():
    @estimator
    class Silent(BaseClusterSpecific):
        width: int = 3

        def _model(self, backend):
            return None

    assert Silent().width == 3
    assert Silent(width=4, epochs=2).get_params()["width"] == 4
    assert "epochs : int, default=150" in Silent.__doc__
    with pytest.raises(TypeError, match="unexpected keyword argument 'wide'"):
        Silent(wide=1)
