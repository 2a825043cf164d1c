"""How far it is from `fit` to the arithmetic of one batch: the calls, with the kernels run as plain Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEPS, FILES = 12, 8
# The function whose body is the formula: a layer of a row of samples; a block's free energies and probabilities.
FORMULA = {"autoencoder": "layer_forward", "machine": "_energies"}
CODE = """
import json, sys, threading, warnings
from pathlib import Path
import numpy as np
import csrl_core
from csrl_core.kernels.cpu._engine import compiler
compiler.missing = None  # nothing has to be compiled
from csrl_core import TensorizedAutoencoder, TensorizedRBM

warnings.simplefilter("ignore")
home, deepest = str(Path(csrl_core.__file__).parent), []

def calls(frame):
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(home) and not code.co_name.startswith("<"):
            yield code.co_filename[len(home) + 1 :], code.co_name
        frame = frame.f_back

def profile(frame, event, argument):
    if event == "call" and "/kernels/cpu/" in frame.f_code.co_filename:
        chain = list(calls(frame))[::-1]
        if ["training/loop.py", "epoch"] in map(list, chain) and len(chain) > len(deepest):
            deepest[:] = chain

X = (np.random.default_rng(0).random((10, 12)) < 0.5).astype(np.float32)
shared = {"epochs": 1, "n_jobs": 1, "init": "k-means", "random_state": 0}
model = {
    "autoencoder": TensorizedAutoencoder(assignment="loss", **shared),
    "machine": TensorizedRBM(n_clusters=1, n_hidden=8, batch_size=10, ais_betas=3, ais_chains=2, **shared),
}[sys.argv[1]]
sys.setprofile(profile)
try:
    model.fit(X)
except Exception:  # some of what is compiled only runs compiled; the way there is known by then
    pass
finally:
    sys.setprofile(None)
print(json.dumps(deepest))
"""


@pytest.mark.parametrize("name", ["autoencoder", "machine"])
def test_the_way_from_fit_to_the_formula_is_short_and_documented(name):
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, name], env=environment, capture_output=True, text=True, check=True
    )
    chain = json.loads(done.stdout)
    chain = chain[: [function for _, function in chain].index(FORMULA[name]) + 1]
    assert chain[0] == ["estimators/base.py", "fit"]
    assert len(chain) <= STEPS
    assert len({file for file, _ in chain}) <= FILES
    section = (ROOT / "docs" / "architecture.md").read_text().partition("## From `fit`")[2].partition("\n## ")[0]
    for file, function in chain:
        assert f"`{file}` `{function}`" in section, f"docs/architecture.md lacks `{file}` `{function}`"
