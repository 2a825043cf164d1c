"""The command line where something is wrong: one line that says what, an exit code, and nothing half written."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import IRIS, error_of, listing, run
from sklearn.exceptions import ConvergenceWarning

import csrl_core
from csrl_core import TensorizedAutoencoder
from csrl_core.training import persistence


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    """Run a command inside an empty folder; asserts the exit code."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def model(csrl):
    csrl(*IRIS, "--out", "model")
    return csrl_core.load("model")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--out", "no/model"], 1, "the folder no does not exist"),
        (["--out", "file/model"], 1, "the folder file is no folder"),
        (["--out", "m", "--labels", "labels.txt"], 2, "the suffix is '.txt', expected .csv or .npy"),
        (["--out", "m", "--labels", "l.csv", "--embedding", "l.csv"], 2, "would overwrite what --labels writes"),
        (["--out", "."], 1, "is no ordinary file"),
        (["--out", "m", "--hidden", "2;1"], 2, "--hidden 2;1: expected integers with commas"),
        (["--out", "m", "--hidden", "0"], 1, "hidden=(0,)"),
        (["--out", "m", "--shared", "5"], 1, "shared=5 layer pairs"),
        (["--out", "m", "--learning-rate", "-1"], 1, "'learning_rate'"),
        (["--out", "m", "-k", "151"], 1, "n_samples=150 should be >= n_clusters=151"),
        (["--out", "m", "--resume", "nothing"], 1, "nothing: there is no such checkpoint file"),
        (["--out", "m", "--backend", "cupy"], 1, "backend='cupy'"),
        (["--out", "m", "--label-column", "species"], 2, "data:iris is built in"),
    ],
)
def test_bad_arguments_of_fit(csrl, args, code, said):
    Path("file").touch()
    assert said in error_of(csrl(*IRIS, *args, code=code))
    assert listing() == ["file"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"a,b\n1,2\n3,x\n", "x.csv, line 3, column 2 ('b'): found 'x', expected a number"),
        ("x.csv", b"a,b\n1,2\n3\n", "line 3: found 1 columns, expected 2"),
        ("x.csv", b"a,b\n1,2\n3,nan\n", "x.csv: row 2, column 'b' is nan"),
        ("x.csv", b"", "found no rows"),
        ("x.npy", b"\x93NUMPY\x01\x00", "not readable as NPY"),
        ("x.npz", b"PK", "not readable as NPZ"),
        ("x.xls", b"", "found suffix '.xls'"),
    ],
)
def test_bad_data_files(csrl, name, content, said):
    Path(name).write_bytes(content)
    assert said in error_of(csrl("fit", name, "--out", "m", "--backend", "numpy", code=1))
    assert listing() == [name]


def test_bad_cells_beside_a_column_of_labels(csrl):
    def said(content, *options):
        Path("x.csv").write_text(content)
        return error_of(csrl("fit", "x.csv", "--out", "m", *options, code=1))

    assert "line 3, column 3 ('b'): found '', expected a number; where a value is missing, --missing drop" in said(
        "a,s,b\n1,u,2\n3,v,\n", "--label-column", "s"
    )
    assert "the columns a, b; expected one named 's'" in said("a,b\n1,2\n", "--label-column", "s")
    assert "the columns x0, x1; expected one named 's'" in said("1,2\n3,4\n", "--label-column", "s")
    assert "found no rows of numbers" in said("a,s\n", "--label-column", "s")
    assert "has no column but 's'" in said("s\nu\n", "--label-column", "s")


def test_a_column_of_text_may_be_one_of_classes(csrl):
    def said(content):
        Path("x.csv").write_text(content)
        return error_of(csrl("fit", "x.csv", "--out", "m", code=1))

    text = "line 2, column 2 ('s'): found 'u', expected a number (cells are separated by ',')"
    others = "; --drop s leaves the column out, --id-column s carries it through"
    classes = "; is it a column of classes? --label-column s leaves it out"
    assert said("a,s\n1,u\n2,v\n").endswith(text + others + classes)
    assert said("a,s,t\n1,u,u\n2,v,v\n").endswith(text + others + "; text stands in 't' as well")
    assert said("a,s\n1,2\n2,3\n4,v\n").endswith(
        "column 2 ('s'): found 'v', expected a number (cells are separated by ','); if it means that a value is "
        "missing, --missing-values v with --missing; --skip-lines 4 leaves the line out"
    )
    assert listing() == ["x.csv"]


def test_an_array_of_several_is_chosen_by_its_option(csrl):
    np.savez("x.npz", a=np.eye(3), b=np.eye(3))
    said = error_of(csrl("fit", "x.npz", "--out", "m", code=1))
    assert said.endswith("found arrays ['a', 'b'], expected one named 'X' (--key chooses another)")


@pytest.mark.parametrize("command", ["predict", "transform", "plot"])
def test_data_that_a_model_was_not_fitted_to(csrl, model, command):
    out = "a.png" if command == "plot" else "a.csv"

    def said(content, *options):
        Path("x.csv").write_text(content)
        return error_of(csrl(command, "model", "x.csv", "--out", out, *options, code=1))

    assert said("a,b\n1,2\n").endswith("x.csv has 2 features (a, b); model was fitted to 4")
    wide = said("a,b,c,d,class\n1,2,3,4,5\n")
    assert wide.endswith("(a, b, c, d, class); model was fitted to 4; --label-column leaves out a column of classes")
    assert "x.csv has 3 features (b, c, d)" in said("a,b,c,d\n1,2,3,4\n", "--label-column", "a")
    assert "x.csv has other columns than model was fitted to: column 1 is 'a', there it is 'sepal length (cm)'" in said(
        "a,b,c,d\n1,2,3,4\n"
    )
    assert "x.csv: row 2, column 'c' is nan (2 such values); expected finite numbers (line 3); --missing" in said(
        "a,b,c,d\n1,2,3,4\n1,2,nan,inf\n", "--by-position"
    )
    assert listing() == ["model", "x.csv"]


def test_a_row_far_down_in_a_file_on_disk(csrl, model):
    X = np.ones((9000, 4), np.float32)
    X[8500, 1] = np.inf
    np.save("x.npy", X)
    said = error_of(csrl("predict", "model", "x.npy", "--out", "a.npy", code=1))
    assert (
        "x.npy: row 8501, column 'x1' is inf; expected finite numbers; --missing drop with --missing-values inf" in said
    )
    assert listing() == ["model", "x.npy"]


def test_select_names_what_is_not_finite(csrl):
    Path("x.csv").write_text("a,b\n1,2\n3,nan\n")
    assert error_of(csrl("select", "x.csv", code=1)).endswith(
        "x.csv: row 2, column 'b' is nan; expected finite numbers (line 3); --missing drop leaves such rows out, "
        "--missing mean puts the column's mean there"
    )


def test_warnings_are_a_line_each(csrl):
    Path("x.csv").write_text("a,b\n" + "1,2\n" * 3)
    fit = ["fit", "x.csv", "-o", "m", "--backend", "numpy", "--epochs", "2"]
    lines = [line for line in csrl(*fit).stderr.splitlines() if "arning" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: cluster 1 has no samples after training (sizes: 3, 0)")
    with pytest.warns(ConvergenceWarning, match="cluster 1 has no samples"):
        csrl("--debug", *fit)


def test_data_that_is_not_there(csrl):
    assert "x.csv does not exist" in error_of(csrl("fit", "x.csv", "--out", "m", code=1))
    assert "is a folder" in error_of(csrl("fit", ".", "--out", "m", code=1))
    assert "'nonsense' is no known data set" in error_of(csrl("fit", "data:nonsense", "--out", "m", code=1))


def test_the_data_file_is_never_overwritten(csrl):
    np.save("x.npy", np.eye(4))
    before = Path("x.npy").read_bytes()
    assert "would overwrite" in error_of(csrl("fit", "x.npy", "--out", "./x.npy", code=2))
    assert Path("x.npy").read_bytes() == before


@pytest.mark.parametrize("command", ["predict", "transform", "plot"])
def test_bad_model_files(csrl, model, command):
    whole = Path("model").read_bytes()
    out = "a.png" if command == "plot" else "a.csv"

    def said(content):
        Path("damaged").write_bytes(content)
        return error_of(csrl(command, "damaged", "data:iris", "--out", out, code=1))

    assert "not a whole safetensors file" in said(whole[: len(whole) // 2])
    assert "not a whole safetensors file" in said(b"")
    assert "not a whole safetensors file" in said(b"foreign" * 100)
    assert "there is no such model file" in error_of(csrl(command, "absent", "data:iris", "--out", out, code=1))
    assert not Path(out).exists()


def test_data_of_another_width(csrl, model):
    said = error_of(csrl("predict", "model", "data:wine", "--out", "a.csv", code=1))
    assert "data:wine has 13 features (alcohol, " in said
    assert said.endswith(", …); model was fitted to 4")
    assert listing() == ["model"]


def test_an_array_cut_short_is_refused_before_anything_is_written(csrl, model):
    np.save("x.npy", np.zeros((100, 4)))
    os.truncate("x.npy", 3000)
    assert "x.npy" in error_of(csrl("predict", "model", "x.npy", "--out", "a.npy", code=1))
    with Path("x.npy").open("wb") as file:
        np.lib.format.write_array(file, np.zeros((5, 4)))
        file.write(b"more")
    assert "found 292 bytes, expected 288" in error_of(csrl("predict", "model", "x.npy", "--out", "a.npy", code=1))
    assert not Path("a.npy").exists()


def test_a_full_disk_leaves_the_old_file_and_no_rest(csrl, model, tmp_path):
    np.save("x.npy", np.zeros((20000, 4)))
    Path("z.npy").write_text("old")
    done = subprocess.run(
        [sys.executable, "-m", "csrl_core.cli", "transform", "model", "x.npy", "--out", "z.npy"],
        # A limit on the size of files is what a test can have of a full disk; 160 kB are to be written.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"error: cannot write z.npy: {os.strerror(errno.EFBIG)}\n"
    assert Path("z.npy").read_text() == "old"
    assert listing() == ["model", "x.npy", "z.npy"]


def test_a_folder_without_room_is_found_before_the_fit(csrl, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(TensorizedAutoencoder, "fit", None)  # must not be reached
    said = error_of(csrl(*IRIS, "--out", "model", code=1))
    assert said == f"error: --out model: cannot write into the folder .: {os.strerror(errno.ENOSPC)}"


def test_a_model_that_cannot_be_written_is_rescued(csrl, tmp_path, monkeypatch):
    write = persistence.write_atomically
    rescue = tmp_path / "rescue"
    rescue.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(rescue))

    def full(path, data):
        if str(path) == "model":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(persistence, "write_atomically", full)
    said = error_of(csrl(*IRIS, "--out", "model", code=1))
    (saved,) = rescue.iterdir()
    assert said.startswith(f"error: cannot write model: {os.strerror(errno.ENOSPC)}; ")
    assert said.endswith(f"the model was saved to {saved} instead")
    assert csrl_core.load(saved).n_iter_ == 20


def test_a_checkpoint_that_cannot_be_written_does_not_cost_the_training(csrl, monkeypatch):
    write, written = persistence.write_atomically, []

    def full(path, data):
        if str(path) == "state" and written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write(path, data)

    monkeypatch.setattr(persistence, "write_atomically", full)
    result = csrl(*IRIS, "--out", "model", "--checkpoint", "state", "--checkpoint-every", "3", code=1)
    assert os.strerror(errno.ENOSPC) in error_of(result)
    assert "the fit failed: the parameters after epoch 6 " in result.stdout
    assert csrl_core.load("model").n_iter_ == 6
    assert listing() == ["model", "state"]


def test_bad_arguments_of_plot(csrl, model):
    assert "needs DATA" in error_of(csrl("plot", "model", "--out", "a.png", code=2))
    assert "suffix is '.bmp'" in error_of(csrl("plot", "model", "data:iris", "--out", "a.bmp", code=2))
    images = ["plot", "model", "data:iris", "--kind", "reconstruction", "--out", "a.png", "--image-shape"]
    assert "--image-shape 2x2: expected integers" in error_of(csrl(*images, "2x2", code=2))
    assert "height·width = 4" in error_of(csrl(*images, "3,3", code=1))
