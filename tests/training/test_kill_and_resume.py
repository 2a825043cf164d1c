"""The short form of bench/kill_and_resume.py: every model is killed once and ends with the same fit."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "kill_and_resume.py"


@pytest.mark.slow
def test_fits_killed_at_random_times_resume_to_the_uninterrupted_ones():
    command = [sys.executable, str(SCRIPT), "--points", "10", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("all: kills 10, ")
    assert last.endswith(", different 0")
