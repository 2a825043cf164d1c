"""The curves of mismatch of a fit: what they are, that measuring changes nothing, files, resuming, bad arguments."""

import numpy as np
import pytest

import csrl_core
from csrl_core import DeepDivergenceClustering, callbacks, mismatch
from csrl_core.models.mismatch_log import MismatchLog

X = np.random.default_rng(0).normal(size=(70, 12)) + 2 * (np.arange(70) % 2)[:, None]
FAST = {"hidden": (7, 5), "latent": 4, "epochs": 3, "batch_size": 16, "backend": "numpy", "random_state": 0}
FAST |= {"learning_rate": 0.01, "companion": "uco", "invariance": 0.3}
CURVES = "ofm_curve_", "ofm_detached_curve_", "ofm_regression_curve_"


def make(**changes):
    return DeepDivergenceClustering(**FAST | {"mismatch": 2, "mismatch_pairs": True} | changes)


def assert_same_curves(one, other):
    for name in CURVES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.ofm_pairs_.keys() == other.ofm_pairs_.keys()
    for pair, curve in one.ofm_pairs_.items():
        np.testing.assert_array_equal(curve, other.ofm_pairs_[pair])


@pytest.mark.parametrize("companion", ["autoencoder", "uco"])
def test_curves_are_of_the_gradients_before_each_step(companion):
    arguments = {"companion": companion, "batch_size": None, "invariance": 0.0, "epochs": 2}
    model = make(**arguments).fit(X)
    for epoch in range(2):
        before = make(**arguments | {"epochs": epoch}).fit(X).objective_gradients(X)
        cosines = [mismatch.cosine(before["clustering"], before[name], "encoder.") for name in list(before)[1:3]]
        assert [model.ofm_curve_[epoch], model.ofm_detached_curve_[epoch]] == pytest.approx(cosines)
        terms = {name: before[name] for name in list(before)[3:]}
        for pair, value in mismatch.pairs(terms, "encoder.").items():
            assert model.ofm_pairs_[pair][epoch] == pytest.approx(value)
    assert (model.ofm_curve_[0] == model.ofm_detached_curve_[0]) == (companion == "autoencoder")


def test_the_line_is_that_of_an_epochs_batches():
    """Values of both objectives in the four full batches of 16 samples; the last 6 samples are left out."""
    model = make(epochs=2).fit(X)
    rows = model.state_["mismatch"]
    assert rows.shape == (2, 5, 4 + 15)
    assert np.isnan(rows[:, 4]).all()
    assert np.isfinite(rows[:, :4, :2]).all()
    assert (np.isfinite(rows[:, :, 2]).sum(axis=1) == 2).all()
    for epoch in range(2):
        line = mismatch.regression(rows[epoch, :4, 0], rows[epoch, :4, 1])
        assert model.ofm_regression_curve_[epoch] == pytest.approx(line[:4])
        assert line.changes == 3
    start = make(epochs=0).fit(X)
    order = csrl_core.backends.get("numpy").philox.permutation(70, start._key, 16, 0)
    own = DeepDivergenceClustering(**FAST | {"companion": None, "invariance": 0.0, "epochs": 0}).fit(X)
    value, _ = own.value_and_gradient(X[order[:16]])
    assert rows[0, 0, 0] == pytest.approx(value / 16)


def test_measuring_changes_nothing_and_files_keep_the_curves(tmp_path):
    plain = DeepDivergenceClustering(**FAST).fit(X)
    model = make(n_init=2).fit(X)
    same = DeepDivergenceClustering(**FAST, n_init=2).fit(X)
    np.testing.assert_array_equal(model.params_, same.params_)
    assert model.loss_curve_ == same.loss_curve_
    assert "mismatch" not in plain.state_
    model.save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    assert_same_curves(again, model)
    assert_same_curves(again.partial_fit(X[:20]), model)


def test_a_resumed_fit_has_the_curves_of_a_whole_one(tmp_path):
    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if epoch.epoch == 1:
                raise KeyboardInterrupt

    path, whole = tmp_path / "checkpoint", make(epochs=4).fit(X)
    interrupted = make().set_callbacks(callbacks.Checkpoint(path), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    np.testing.assert_array_equal(interrupted.ofm_curve_, whole.ofm_curve_[:2])
    assert_same_curves(make(epochs=4).fit(X, resume=path), whole)  # more epochs than the checkpoint's fit


def test_batches_to_compare_are_evenly_spread():
    log = MismatchLog(1, 26, 25, 5)
    assert [number for number in range(26) if log.compares(number)] == [4, 9, 14, 19, 24]
    assert sum(MismatchLog(1, 5, 4, 100).compares(number) for number in range(5)) == 4
    with pytest.raises(ValueError, match=r"the state's 'mismatch' has shape \(1, 5, 4\); expected 26 batches"):
        log.state(np.zeros((1, 5, 4)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mismatch": -1}, "'mismatch' .* Got -1"),
        ({"mismatch_pairs": "all"}, "'mismatch_pairs' .* Got 'all'"),
        ({"mismatch": 0}, "mismatch_pairs=True, but mismatch=0; expected a number of batches"),
        ({"companion": None, "mismatch_pairs": False}, "compares the objective with a companion, but companion=None"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes).fit(X)


def test_curves_that_were_not_asked_for():
    model = make(companion=None, epochs=1).fit(X)
    assert len(model.ofm_pairs_["separation", "invariance"]) == 1
    for other, names in ((model, CURVES), (DeepDivergenceClustering(**FAST), CURVES), (make(), ("ofm_pairs_",))):
        for name in names:
            with pytest.raises(AttributeError, match=f"has {name} after a fit with mismatch"):
                getattr(other, name)


def test_arrays_of_the_device(cupy):
    model, same = make(epochs=1, backend="cupy").fit(cupy.asarray(X)), make(epochs=1).fit(X)
    np.testing.assert_allclose(model.ofm_curve_, same.ofm_curve_, rtol=1e-6)
    np.testing.assert_allclose(model.ofm_regression_curve_, same.ofm_regression_curve_, rtol=1e-4)
    found, own = model.objective_gradients(cupy.asarray(X[:9])), same.objective_gradients(X[:9])
    assert type(found["companion"]["head.0.weight"]) is cupy.ndarray
    assert mismatch.pairs(found, "encoder.") == pytest.approx(mismatch.pairs(own, "encoder."), rel=1e-5)
