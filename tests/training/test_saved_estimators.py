"""Saving, loading and pickling change nothing in an estimator: attributes, predictions, and further training."""

import pickle

import numpy as np
import pytest
from resume_helpers import REAL, same_estimators, saved_copy
from test_resume import MODELS, problem

import csrl_core
from csrl_core import TensorizedAutoencoder
from csrl_core.training.persistence import ModelFileError


@pytest.mark.parametrize("seed", range(20, 24))
@pytest.mark.parametrize("kind", MODELS)
def test_a_saved_or_pickled_estimator_continues_like_the_one_in_memory(kind, seed, tmp_path):
    _, model, X, fit = problem(kind, seed)
    model.fit(X, **fit).save(tmp_path / "model")
    loaded = csrl_core.load(tmp_path / "model", model=getattr(model, "model", None))
    for back in (loaded, pickle.loads(pickle.dumps(model))):
        same_estimators(back, saved_copy(model), X)


def test_the_choice_of_set_output_is_loaded(tmp_path):
    pandas, path = pytest.importorskip("pandas"), tmp_path / "model"
    frame = pandas.DataFrame(REAL, columns=list("abcde"))
    model = TensorizedAutoencoder(n_clusters=3, epochs=2, random_state=0).fit(frame)
    model.save(path)
    assert type(csrl_core.load(path).transform(frame)) is np.ndarray
    model.set_output(transform="pandas").save(path)
    pandas.testing.assert_frame_equal(csrl_core.load(path).transform(frame), model.transform(frame))


def test_an_unknown_output_is_refused(tmp_path):
    model = TensorizedAutoencoder(n_clusters=3, epochs=2, random_state=0).fit(REAL)
    model._sklearn_output_config = {"transform": "arrow"}
    model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="has output='arrow'; expected one of default, pandas, polars"):
        csrl_core.load(tmp_path / "model")
