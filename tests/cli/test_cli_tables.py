"""The command line on tables as people have them: what it says it took, and what a model remembers of a table."""

import io
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import error_of, listing, run
from typer.testing import CliRunner

import csrl_core
from csrl_core import TensorizedAutoencoder, datasets
from csrl_core.cli.app import app

FIT = ["--epochs", "5", "--seed", "0", "--backend", "numpy"]
NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    """Run a command inside an empty folder; asserts the exit code."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def X():
    return datasets.load("iris").data


def table(name, X, names=NAMES, **more):
    """Write a CSV; more : further columns, in front."""
    columns = [*more.values(), *np.asarray(X).T.tolist()]
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    Path(name).write_text("\n".join([",".join([*more, *names]), *rows]) + "\n")


def read(name):
    """(header, rows of text) of a CSV."""
    header, *rows = Path(name).read_text().splitlines()
    return header.split(","), [row.split(",") for row in rows]


def fitted(X, **arguments):
    return TensorizedAutoencoder(epochs=5, random_state=0, backend="numpy", **arguments).fit(X)


# ------------------------------------------------------------------------------------------ what was taken


def test_a_fit_says_in_a_line_what_it_took(csrl, X):
    table("x.csv", X, id=range(100, 250), kind=["u"] * 150)
    said = csrl("fit", "x.csv", "--id-column", "id", "--label-column", "kind", "-o", "m", *FIT).stdout.splitlines()
    assert said[0] == (
        "data       x.csv: 150 rows × 4 columns, header in line 1, "
        "left out: 'kind' (--label-column), 'id' (--id-column, carried through)"
    )
    np.savetxt("y.csv", X, delimiter=",")
    assert "y.csv: 150 rows × 4 columns, no header\n" in csrl("fit", "y.csv", "-o", "m", *FIT).stdout
    assert "data:iris: 150 rows × 4 columns\n" in csrl("fit", "data:iris", "-o", "m", *FIT).stdout


def test_an_index_of_pandas_is_no_feature(csrl, X):
    pandas = pytest.importorskip("pandas", reason="writes the file")
    pandas.DataFrame(X, columns=NAMES).to_csv("x.csv")
    said = csrl("fit", "x.csv", "-o", "m", "-k", "3", *FIT).stdout
    assert "left out: 'Unnamed: 0' (it has no name and numbers the rows)" in said
    np.testing.assert_array_equal(csrl_core.load("m").params_, fitted(X, n_clusters=3).params_)


def test_an_identifier_goes_through_to_all_tables(csrl, X):
    table("x.csv", X, id=[f"p, {i}" if i == 3 else f"p{i}" for i in range(150)])
    text = Path("x.csv").read_text().replace("p, 3", '"p, 3"')
    Path("x.csv").write_text(text)
    csrl("fit", "x.csv", "--id-column", "id", "-o", "m", "--labels", "l.csv", "--embedding", "z.csv", *FIT)
    csrl("predict", "m", "x.csv", "-o", "p.csv")  # the model remembers the column
    assert Path("p.csv").read_text() == Path("l.csv").read_text()
    assert Path("p.csv").read_text().splitlines()[4].startswith('"p, 3",')
    assert Path("z.csv").read_text().startswith("id,z0\np0,")
    csrl("predict", "m", "x.csv", "-o", "p.npy")
    assert np.load("p.npy").shape == (150,)


@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_standard_input(csrl, X, suffix):
    stream = io.BytesIO()
    np.savetxt(stream, X, delimiter=",") if suffix == "csv" else np.save(stream, X)
    result = CliRunner().invoke(app, ["fit", "-", "-o", "m", *FIT], input=stream.getvalue())
    assert result.exit_code == 0, result.output
    assert "standard input: 150 rows × 4 columns" in result.stdout
    np.testing.assert_allclose(csrl_core.load("m").params_, fitted(X).params_)


def test_missing_values(csrl, X):
    broken = X[:60].astype(object)
    broken[3, 1] = ""
    broken[7, 2] = "NA"
    table("x.csv", broken)
    said = error_of(csrl("fit", "x.csv", "-o", "m", *FIT, code=1))
    assert "line 5, column 2 ('b'): found '', expected a number" in said
    assert "--missing drop" in said
    said = csrl("fit", "x.csv", "-o", "m", "--missing", "drop", "--labels", "l.csv", *FIT).stdout
    assert "2 of 60 rows left out for missing values ('b', 'c')" in said
    header, rows = read("l.csv")
    assert header == ["row", "cluster"]
    assert [int(row[0]) for row in rows] == [i for i in range(1, 61) if i not in (4, 8)]
    said = error_of(csrl("predict", "m", "x.csv", "-o", "p.csv", "--missing", "mean", code=2))
    assert "m was fitted without it, so it has no means" in said
    csrl("fit", "x.csv", "-o", "m", "--missing", "mean", *FIT)
    mean = np.delete(X[:60, 1], 3).mean()
    np.testing.assert_allclose(csrl_core.load("m").table_["means"][1], mean)
    table("new.csv", [["", 3, 1, 1]])
    said = csrl("predict", "m", "new.csv", "-o", "p.csv", "--missing", "mean").stdout
    assert "1 missing values ('a') replaced by the column's mean of the model's data" in said


# ----------------------------------------------------------------------------- names are a part of the model


def test_columns_are_compared_by_their_names(csrl, X):
    table("x.csv", X)
    csrl("fit", "x.csv", "-o", "m", "-k", "3", *FIT)
    model = csrl_core.load("m")
    assert model.feature_names_in_.tolist() == NAMES
    expected = model.predict(X)
    # In another order, and with columns beside them: by their names.
    order = [2, 0, 3, 1]
    table("y.csv", X[:, order], [NAMES[j] for j in order], kind=["u"] * 150)
    said = csrl("predict", "m", "y.csv", "-o", "p.npy").stdout
    np.testing.assert_array_equal(np.load("p.npy"), expected)
    assert "left out: 'kind' (the model was not fitted to it)" in said
    # Named otherwise: not without being asked.
    table("z.csv", X, ["a", "b", "c", "e"])
    for command in ("predict", "transform"):
        said = error_of(csrl(command, "m", "z.csv", "-o", "q.npy", code=1))
        assert "z.csv has other columns than m was fitted to: column 4 is 'e', there it is 'd'; --by-position" in said
    assert "q.npy" not in listing()
    csrl("predict", "m", "z.csv", "-o", "q.npy", "--by-position")
    np.testing.assert_array_equal(np.load("q.npy"), expected)
    # Without names: as they stand, which is said.
    np.save("x.npy", X)
    said = csrl("predict", "m", "x.npy", "-o", "q.npy").stdout
    assert "4 columns, no names to compare: its columns are taken for a, b, c, d\n" in said
    np.testing.assert_array_equal(np.load("q.npy"), expected)


def test_frames_are_compared_with_what_the_command_line_fitted(csrl, X):
    pandas = pytest.importorskip("pandas", reason="the frames are those of pandas")
    table("x.csv", X)
    csrl("fit", "x.csv", "-o", "m", *FIT)
    model, frame = csrl_core.load("m"), pandas.DataFrame(X, columns=NAMES)
    np.testing.assert_array_equal(model.predict(frame), fitted(X).labels_)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[NAMES[::-1]])


def test_the_target_has_the_columns_of_the_data(csrl, X):
    table("x.csv", X + 0.1, id=range(7, 157))
    table("clean.csv", X[:, ::-1], NAMES[::-1], id=range(7, 157))
    fit = ["fit", "x.csv", "--id-column", "id", "-o", "m", *FIT, "--target"]
    csrl(*fit, "clean.csv")
    expected = TensorizedAutoencoder(epochs=5, random_state=0, backend="numpy").fit(X + 0.1, target=X)
    np.testing.assert_allclose(csrl_core.load("m").params_, expected.params_)
    table("other.csv", X, ["a", "b", "c", "e"], id=range(7, 157))
    assert "other.csv has other columns than x.csv has: column 4 is 'e'" in error_of(csrl(*fit, "other.csv", code=1))
    table("turned.csv", X[::-1], id=range(156, 6, -1))
    assert "turned.csv has other values of 'id' than x.csv" in error_of(csrl(*fit, "turned.csv", code=1))


# --------------------------------------------------------------------------- scaling is a part of the model


@pytest.mark.parametrize("option", [["--standardize"], ["--scale", "standard"], ["--scale", "minmax"]])
def test_scaling_is_fitted_kept_and_done_by_the_model(csrl, X, option):
    table("x.csv", X)
    said = csrl("fit", "x.csv", "-o", "m", "-k", "3", "--embedding", "z.npy", *option, *FIT).stdout
    assert "scaling    every column is " in said
    if option[-1] == "minmax":
        scaled = (X - X.min(axis=0)) / (X.max(axis=0) - X.min(axis=0))
    else:
        scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = fitted(scaled, n_clusters=3)
    csrl("transform", "m", "x.csv", "-o", "t.npy")
    model = csrl_core.load("m")
    for Z in (np.load("z.npy"), np.load("t.npy"), model.transform(X)):
        np.testing.assert_allclose(Z, expected.transform(scaled), atol=1e-12)
    # What comes out is in the units of what went in.
    error = np.abs(model.reconstruct(X) - X).mean()
    assert error < 0.5 * np.abs(X - X.mean(axis=0)).mean()
    for again in (["--standardize"], ["--scale", "minmax"]):
        said = error_of(csrl("predict", "m", "x.csv", "-o", "p.npy", *again, code=2))
        assert "a model keeps its scaling and does the same with new data" in said
    assert "--divide-by 2: m itself s" in error_of(
        csrl("predict", "m", "x.csv", "-o", "p.npy", "--divide-by", "2", code=2)
    )


def test_scaling_twice_is_refused(csrl):
    for options in (["--standardize", "--divide-by", "2"], ["--standardize", "--scale", "minmax"]):
        assert "would scale twice" in error_of(csrl("fit", "data:iris", "-o", "m", *options, code=2))


def test_a_constant_column_is_only_shifted(csrl, X):
    table("x.csv", np.column_stack([X, np.full(150, 7.5)]), [*NAMES, "e"])
    assert "1 constant columns are only shifted" in csrl("fit", "x.csv", "-o", "m", "--standardize", *FIT).stdout
    assert np.isfinite(csrl_core.load("m").params_).all()


def test_new_rows_outside_the_range_are_set_to_its_ends_and_counted(csrl, X):
    csrl("fit", "data:iris", "-o", "m", "--model", "rbm", "--ais-betas", "20", "--scale", "minmax", *FIT)
    np.save("new.npy", [[20.0, 3, 1, 1], [5, 3, 1, 1]])
    result = csrl("predict", "m", "new.npy", "-o", "p.npy")
    assert "1 of 8 values lie outside the range of the model's training data" in result.stderr


def test_a_refit_forgets_the_scaling(csrl, X):
    csrl("fit", "data:iris", "-o", "m", "--standardize", *FIT)
    model = csrl_core.load("m")
    assert model.scaling_.kind == "standardize"
    np.testing.assert_array_equal(model.fit(X).params_, fitted(X).params_)
    assert not hasattr(model, "scaling_")


def test_an_interrupted_fit_keeps_names_and_scaling(csrl, X, monkeypatch):
    from csrl_core.callbacks import LogLines

    def interrupt(self, estimator, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(LogLines, "on_epoch_end", interrupt)
    table("x.csv", X)
    csrl("fit", "x.csv", "-o", "m", "--standardize", *FIT, code=130)
    model = csrl_core.load("m")
    assert (model.feature_names_in_.tolist(), model.scaling_.kind) == (NAMES, "standardize")


# ----------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--delimiter", "ab"], "--delimiter ab: expected one character"),
        (["--decimal", ";"], "--decimal ;: expected . or ,"),
        (["--decimal", ",", "--thousands", ","], "--decimal and --thousands are both ,"),
        (["--skip-lines", "0"], "--skip-lines 0: expected numbers of lines from 1"),
        (["--skip-lines", "5-2"], "--skip-lines 5-2: expected"),
        (["--missing-values", "nd"], "--missing-values needs --missing"),
        (["--drop", ","], "--drop ,: expected names"),
    ],
)
def test_options_that_are_wrong(csrl, options, said):
    Path("x.csv").write_text("a,b\n1,2\n3,5\n")
    assert said in error_of(csrl("fit", "x.csv", "-o", "m", *options, code=2))
    assert listing() == ["x.csv"]


def test_select_writes_the_best_model(csrl):
    result = csrl("select", "data:triangle", "-k", "1-3", "--n-init", "2", "--backend", "numpy", "--seed", "0",
                  "-o", "m", "--table", "t.csv")  # fmt: skip
    assert "model      m" in result.stdout
    _, rows = read("t.csv")
    best = next(row for row in rows if row[-1] == "1")
    model = csrl_core.load("m")
    assert model.n_clusters == int(best[1])
    csrl("predict", "m", "data:triangle", "-o", "p.npy")
    np.testing.assert_array_equal(np.load("p.npy"), model.labels_)
