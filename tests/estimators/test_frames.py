"""Frames and arrays as people have them: a right result, or a message that names the column and the cure."""

import datetime
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from csrl_core import TensorizedAutoencoder, TensorizedRBM, TensorizedVAE, datasets
from csrl_core.estimators.input_checks import in_unit_interval

pandas = pytest.importorskip("pandas", reason="the frames are those of pandas")


def estimator(**arguments):
    return TensorizedAutoencoder(epochs=3, random_state=0, backend="numpy", **arguments)


@pytest.fixture
def frame():
    return pandas.DataFrame(datasets.load("iris").data[:40], columns=["a", "b", "c", "d"])


DATES = [datetime.date(2020, 1, 1 + i % 28) for i in range(40)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["u"] * 40, r"column 'b' of X has 'u' \(text; leave it out, or encode it"),
        (pandas.Categorical(["u", "v"] * 20), "column 'b' of X has 'u'"),
        (DATES, r"column 'b' of X has '2020-01-01' \(dates or times; use a number, such as days"),
        (pandas.to_datetime(DATES), r"column 'b' of X has '2020-01-01 00:00:00' \(dates or times"),
        (pandas.to_timedelta(np.arange(40), "h"), r"column 'b' .*dates or times"),
        (
            pandas.array([1, None] * 20, "Int64"),
            "Input X contains NaN: column 'b' has 20 missing values; .*SimpleImputer",
        ),
        ([1.0, None] * 20, "Input X contains NaN: column 'b' has 20 missing values"),
        (np.array([1.0, pandas.NA] * 20, object), "column 'b' has 20 missing values"),
        ([1.0, np.inf] * 20, "Input X contains infinity in 20 places, the first in row 1, column 'b'"),
        (pandas.period_range("2020", periods=40, freq="D"), "column 'b' of X has '2020-01-01' .Period, no number"),
        ([[1, 2]] * 40, "column 'b' of X has .* .list, no number"),
        ([1j] * 40, "Complex data not supported: column 'b' of X has dtype complex128"),
    ],
)
def test_a_column_that_has_no_numbers_is_named(frame, column, message):
    frame["b"] = column
    with pytest.raises((TypeError, ValueError), match=message):
        estimator().fit(frame)
    with pytest.raises((TypeError, ValueError), match=message):
        estimator().partial_fit(frame)


def test_the_target_is_examined_like_the_data(frame):
    text = frame.astype(object)
    text.iloc[3, 1] = "u"
    with pytest.raises(ValueError, match=r"column 'b' of target has 'u'"):
        estimator().fit(frame, target=text)


def test_numbers_in_any_form_are_right(frame):
    frame = frame.round()
    expected = estimator().fit(frame.to_numpy()).params_
    for same in (
        frame.astype("Int64"),
        frame.astype("Float32").astype("Float64"),
        frame.astype(object),
        frame.astype("float16"),
    ):
        np.testing.assert_array_equal(estimator().fit(same).params_, expected)
    for same in (
        frame.to_numpy().astype(np.float16),
        frame.to_numpy().astype(object),
        np.ma.masked_array(frame.to_numpy()),
    ):
        np.testing.assert_array_equal(estimator().fit(same).params_, expected)
    flags = frame > frame.mean()
    np.testing.assert_array_equal(estimator().fit(flags).params_, estimator().fit(flags.to_numpy(float)).params_)


def test_masked_values_are_refused(frame):
    X = np.ma.masked_array(frame.to_numpy())
    X[3, 1] = np.ma.masked
    with pytest.raises(
        ValueError, match=r"X is a masked array with 1 masked values, the first in row 3, column 1; leave these"
    ):
        estimator().fit(X)
    with pytest.raises(ValueError, match="target is a masked array"):
        estimator().fit(frame, target=X)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_arrays_are_refused_with_the_cure(frame, index):
    X = scipy.sparse.csr_array(frame.to_numpy())
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    with pytest.raises(TypeError, match="toarray"):
        estimator().fit(X)


def test_arrays_and_frames_that_are_no_table_of_numbers(frame):
    for X, message in (
        (frame.to_records(index=False), "structured array with the fields a, b, c, d; .*structured_to_unstructured"),
        (map(list, frame.to_numpy()), r"X is a map; expected an array.*list\(X\)"),
        (frame.to_dict("list"), r"X is a dict; .*pandas.DataFrame\(X\)"),
        ([[1, 2], [3, 4], [5]], "rows of different lengths: 2 values in row 0, 1 in row 2"),
        (frame.astype(pandas.SparseDtype("float")), "dense data is required: X.sparse.to_dense"),
        (frame.rename(columns={"d": "a"}), "X has several columns named 'a'"),
        (frame.to_numpy() + 1j, "Complex data not supported: X has dtype complex128; take real"),
        (frame.mask(frame == frame.iloc[3, 1]).to_numpy(), r"Input X contains NaN in \d+ places, the first in row \d+"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            estimator().fit(X)


def test_columns_without_text_as_names_are_compared_as_well(frame):
    frame.columns = pandas.MultiIndex.from_product([["u", "v"], [0, 1]])
    model = estimator().fit(frame)
    np.testing.assert_array_equal(model.predict(frame), model.labels_)
    np.testing.assert_array_equal(model.predict(frame.to_numpy()), model.labels_)
    with pytest.raises(ValueError, match=r"column 0 of X is named \('v', 1\), in the fit it was \('u', 0\)"):
        model.predict(frame.iloc[:, ::-1])
    assert model.fit(frame.to_numpy()).predict(frame.iloc[:, ::-1]).shape == (40,)


def test_an_index_that_became_a_column_is_named(frame):
    with pytest.warns(UserWarning, match="column 'index' of X counts the rows from 0 to 39; if it was an index"):
        estimator().fit(frame.reset_index())


def test_text_and_dates_in_arrays_name_the_column(frame):
    X = frame.to_numpy().astype(object)
    X[3, 2] = "u"
    with pytest.raises(ValueError, match="could not convert string to float: column 2 of X has 'u'"):
        estimator().fit(X)
    with pytest.raises(ValueError, match="column 0 of X has '2020-01-01'"):
        estimator().fit(np.array([["2020-01-01"], ["2020-01-02"]], "M8[D]"))


# ------------------------------------------------------------------------------------------- in the pipeline


def test_the_target_has_the_order_of_the_data(frame):
    order, rows = ["d", "b", "c", "a"], frame.index[::-1]
    with pytest.raises(
        ValueError, match=r"target has the columns of X in another order; expected the same: target\[X.columns\]"
    ):
        estimator().fit(frame, target=frame[order])
    with pytest.raises(
        ValueError, match=r"target has the rows of X in another order; expected the same: target.loc\[X.index\]"
    ):
        estimator().fit(frame, target=frame.loc[rows])
    with pytest.raises(ValueError, match="target has other columns than X: number 3 is 'e', of X it is 'd'"):
        estimator().fit(frame, target=frame.rename(columns={"d": "e"}))
    with pytest.raises(ValueError, match="sample_weight has the rows of X in another order"):
        estimator().fit(frame, sample_weight=pandas.Series(1.0, index=rows))
    expected = estimator().fit(frame.to_numpy(), target=frame.to_numpy() / 2).params_
    np.testing.assert_array_equal(estimator().fit(frame, target=frame / 2).params_, expected)
    np.testing.assert_array_equal(estimator().fit(frame, target=(frame / 2).reset_index(drop=True)).params_, expected)


def test_roundings_outside_the_unit_interval_are_none():
    for dtype in (np.float32, np.float64):
        eps = np.finfo(dtype).eps
        X = np.array([[0, 1 + 2 * eps], [-eps, 0.5]], dtype)
        np.testing.assert_array_equal(in_unit_interval(X, "X", "a", "b"), np.array([[0, 1], [0, 0.5]], dtype))
        with pytest.raises(ValueError, match=r"a needs values in \[0, 1\], X has values from .*, or use b.*clip=True"):
            in_unit_interval(np.array([[0, 1.00048]], dtype), "X", "a", "b")


@pytest.mark.parametrize(
    "model",
    [
        TensorizedRBM(n_clusters=2, n_hidden=3, epochs=2, ais_betas=5, ais_chains=4, random_state=0, backend="numpy"),
        TensorizedVAE(n_clusters=2, hidden=(4,), latent=1, epochs=2, random_state=0, backend="numpy"),
    ],
)
def test_a_row_outside_the_range_of_the_others_in_a_search(model):
    X = np.random.default_rng(0).random((30, 3))
    X[4, 1] = 1.2  # alone in its fold
    search = {"param_grid": {"minmaxscaler__feature_range": [(0, 1)]}, "cv": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"MinMaxScaler\(clip=True\)"):
            GridSearchCV(make_pipeline(MinMaxScaler(), model), error_score="raise", **search).fit(X)
        found = GridSearchCV(make_pipeline(MinMaxScaler(clip=True), model), **search).fit(X)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_fewer_distinct_points_than_clusters():
    X = np.repeat([[0.0, 1.0], [2.0, -1.0]], 10, axis=0)
    with pytest.warns(ConvergenceWarning, match="X has 2 distinct rows, fewer than n_clusters=4"):
        estimator(n_clusters=4, hidden=(1,)).fit(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator(n_clusters=2, hidden=(1,)).fit(X)
    assert not any("distinct" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("value", [1e7, -1e30, 1e150])
def test_a_huge_row_is_named(frame, value):
    frame.iloc[17, 2] = value
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator().fit(frame)
        except ValueError:
            assert abs(value) > 1e100
    messages = [str(warning.message) for warning in caught]
    assert sum("row 17 has" in message and "in column 'c'" in message for message in messages) == 1


def test_a_column_of_another_unit_is_no_huge_row(frame):
    frame["c"] *= 1e9
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator().fit(frame)
    assert not any("usual" in str(warning.message) for warning in caught)
