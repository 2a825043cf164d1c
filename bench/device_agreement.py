"""The cases of the contract on a device, for a memory checker to look on.

    compute-sanitizer --tool memcheck  python bench/device_agreement.py
    compute-sanitizer --tool racecheck python bench/device_agreement.py

Arrays are allocated one by one, not from CuPy's pool, within which a checker sees no bounds. Under a checker
everything takes longer, so the smallest cases of every stem come first, and ``--seconds`` ends the run in order: what
was left out is said.
"""

import argparse
import time

import numpy as np

from csrl_core import backends as backend
from csrl_core import contract
from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases


def size(case):
    """Numbers in a case's arguments, those of records included."""

    def numbers(argument):
        return sum(map(numbers, argument)) if isinstance(argument, tuple) else np.size(argument)

    return sum(map(numbers, case.arguments(np.dtype(np.float32))))


def _stems(b):
    """The stems that a backend has."""
    return [stem for stem in contract.STEMS if stem not in getattr(b, "missing", ())]


def agree(b, seconds, stems=None):
    """Check cases on a backend, small ones first, for so many seconds.

    Returns
    -------
    results : list of `verify.Result`
    left_out : list of str, the cases that there was no time for
    """
    until, results, left_out = time.monotonic() + seconds, [], []
    cases = sorted((case for stem in stems or _stems(b) for case in all_cases(stem)), key=size)
    for case in cases:
        for dtype in verify.DTYPES:
            if time.monotonic() < until:
                results.append(verify.check(case, b, dtype))
            else:
                left_out.append(f"{case.stem}.{case.function}[{case.name}] {np.dtype(dtype).name}")
    return results, left_out


def main():
    """Command line; the exit status is 1 where a case does not agree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--backend", default="cupy")
    arguments = parser.parse_args()
    b = backend.get(arguments.backend)
    if b.on_device:
        b.xp.cuda.set_allocator(None)
    results, left_out = agree(b, arguments.seconds)
    print(verify.table(results))
    print(f"\n{len(results)} cases, {len(left_out)} left out for want of time", *left_out, sep="\n")
    raise SystemExit(0 if all(result.ok for result in results) else 1)


if __name__ == "__main__":
    main()
