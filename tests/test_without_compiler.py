"""``backend="numpy"`` where nothing can be compiled: no Numba, or ``NUMBA_DISABLE_JIT``."""

import os
import subprocess
import sys

import pytest

FIT = """
import sys

class Blocker:
    def find_spec(self, name, *others):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

if BLOCKED:
    sys.meta_path.insert(0, Blocker())
import csrl_core
from csrl_core.cli import main
from csrl_core import datasets

X = datasets.load("iris").data[::10]
model = csrl_core.TensorizedAutoencoder(backend="numpy", n_jobs=2, epochs=2, random_state=0, verbose=1).fit(X)
assert (model.predict(X) == model.labels_).all()
sys.argv = ["csrl", "fit", "data:iris", "--out", OUT, "--epochs", "2"]
main()
"""


@pytest.mark.parametrize("blocked", [True, False])
def test_numpy_works_and_numba_says_what_to_do(blocked, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    environment |= {} if blocked else {"NUMBA_DISABLE_JIT": "1"}
    script = f"BLOCKED, OUT = {blocked}, {str(tmp_path / 'model')!r}\n{FIT}"
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended
    (error,) = [line for line in ended.stderr.splitlines() if not line.startswith("restart 1, epoch")]
    if blocked:
        assert error.startswith(
            "error: backend='numba' needs Numba, which cannot be imported (No module named 'numba')"
        )
    else:
        assert error.startswith("error: backend='numba' compiles nothing while NUMBA_DISABLE_JIT is set; unset it")
    assert "take backend='numpy'" in error
