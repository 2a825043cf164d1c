"""``csrl reproduce ofm`` in small: what is paired is paired, a run measures what it says, sums are right, a rerun."""

import csv

import numpy as np
import pytest
from cli_helpers import error_of
from cli_helpers import run as csrl

from csrl_core import datasets, metrics
from csrl_core.cli import reproduce_ofm
from csrl_core.experiments import ofm, ofm_summary

needs_mnist = pytest.mark.skipif(not datasets.available("mnist"), reason="MNIST is not there")


def test_all_models_sets_and_repetitions():
    listed = ofm.jobs()
    assert len({job.key for job in listed}) == len(listed) == 4 * 2 * 2 * 10
    assert [job.model for job in listed[-40:]] == [ofm.TENSOR] * 40
    first = listed[:12]  # of the first repetition
    assert {job.repetition for job in first} == {0}
    assert {(job.data, job.model, job.invariance) for job in first} == {
        (data, model, weight) for data in "AB" for model in ofm.MODELS[:3] for weight in (0.0, 1.0)
    }


@needs_mnist
def test_sets_are_disjoint_and_of_all_classes():
    (X, y), (other, _) = (ofm.load_images(data) for data in ofm.SETS)
    assert (X.shape, X.dtype, X.max()) == ((3000, 784), np.float32, 1)
    assert not {row.tobytes() for row in X} & {row.tobytes() for row in other}
    assert np.bincount(y).min() > 200
    np.testing.assert_array_equal(ofm.load_images("A", 50)[0], X[:50])


@needs_mnist
def test_models_of_a_repetition_begin_alike():
    starts = {}
    for job in ofm.jobs(backend="numpy", images=10)[:6:2] + ofm.jobs(backend="numpy", images=10)[-40:-39]:
        model = ofm.model_of(job).set_params(epochs=0).fit(ofm.load_images(job.data, 10)[0])
        starts[job.model] = model.params_[:75198], model._key  # of encoder and head
    assert len(starts) == 4
    for params, key in starts.values():
        np.testing.assert_array_equal(params, starts[ofm.ALONE][0])
        np.testing.assert_array_equal(key, starts[ofm.ALONE][1])


def made_up(model, invariance, repetition, data, **measured):
    values = {"ACC": 0.5, "NMI": 0.5, "ARI": 0.5, "loss": 1.0, "seconds": 1.0, "ofm": np.nan, "ofm_detached": np.nan}
    values |= {"correlation": np.nan, "excluded": np.nan, "curve": "", "detached_curve": ""} | measured
    return ofm.Run(data, model, invariance, repetition, repetition, 6, **values)


def test_the_summary_by_hand():
    runs = [
        made_up(ofm.ALONE, 0.0, 0, "A", ACC=0.4, loss=2.0),
        made_up(ofm.ALONE, 0.0, 0, "B", ACC=0.6),
        made_up(ofm.ALONE, 0.0, 1, "A", ACC=0.8),
        made_up(ofm.AUTOENCODER, 0.0, 0, "A", ACC=0.3, ofm=0.1),
        made_up(ofm.AUTOENCODER, 0.0, 0, "B", ACC=0.7, ofm=0.2),
        made_up(ofm.VECTOR, 0.0, 0, "B", ACC=0.9, ofm=0.5),
        made_up(ofm.VECTOR, 1.0, 0, "B", ACC=0.7, ofm=0.5),
    ]
    rows = {(r.model, r.invariance, r.compared, r.measure): r for r in ofm_summary.summarise(runs)}
    own = rows[ofm.ALONE, 0.0, "", "ACC"]
    assert (own.runs, own.median, own.lowest, own.highest, own.mean) == pytest.approx((3, 0.6, 0.4, 0.8, 0.6))
    half = 4.302652729749464 * 0.2 / np.sqrt(3)
    assert (own.low, own.high) == pytest.approx((0.6 - half, 0.6 + half))
    assert rows[ofm.ALONE, 0.0, "", "ACC, lowest loss, A"].mean == 0.8
    less = rows[ofm.AUTOENCODER, 0.0, "less DDC", "ACC"]
    assert (less.runs, less.mean, less.lowest) == pytest.approx((2, 0, -0.1))
    assert rows[ofm.VECTOR, 0.0, "less DDC-AE", "ofm"].mean == pytest.approx(0.3)
    assert rows[ofm.VECTOR, 1.0, "less the same without invariance", "ACC"].mean == pytest.approx(-0.2)
    assert (ofm.VECTOR, 1.0, "less DDC", "ACC") not in rows  # there is no such pair
    assert (ofm.ALONE, 0.0, "", "ofm") not in rows
    text = "\n".join(ofm_summary.lines(rows.values()))
    assert "0.600 [0.400, 0.800]" in text
    assert "2 pairs +0.000 [" in text


@needs_mnist
def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(ofm, "INVARIANCE", (0.0,))
    monkeypatch.setattr(ofm, "SETS", ("A",))
    monkeypatch.setitem(reproduce_ofm.QUICK, "images", 12)
    words = ["reproduce", "ofm", "--quick", "--out", tmp_path, "--backend", "numpy", "--jobs", "1"]
    result = csrl(*words)
    assert result.exit_code == 0, result.output
    with (tmp_path / "ofm-quick-runs.csv").open() as file:
        rows = {(row["data"], row["model"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4
    job = next(job for job in ofm.jobs(backend="numpy", epochs=1, images=12) if job.model == ofm.VECTOR)
    X, y = ofm.load_images(job.data, 12)
    model, row = ofm.model_of(job).fit(X), rows["A", ofm.VECTOR]
    assert float(row["ACC"]) == pytest.approx(metrics.clustering_accuracy(y, model.labels_), rel=1e-5)
    assert float(row["ofm"]) == pytest.approx(model.ofm_curve_[0], rel=1e-5)
    assert row["detached_curve"] == f"{model.ofm_detached_curve_[0]:.4f}"
    assert rows["A", ofm.ALONE]["ofm"] == "nan"
    assert (tmp_path / "ofm-quick.png").stat().st_size > 20_000
    assert "4 runs, 4 of them in" in csrl(*words).output


def test_data_of_other_experiments_are_refused(tmp_path):
    message = error_of(csrl("reproduce", "ofm", "--data", "iris", "--out", tmp_path, code=2))
    assert "--data is an option of other experiments; ofm has two sets" in message
