"""How `fuzz_files` damages files: in their bytes, as disks and transfers do, or in their meaning, as forgers do."""

import json
from copy import deepcopy

import numpy as np
import safetensors.numpy

from csrl_core.training.file_checks import digest_of
from csrl_core.training.persistence import HEADER

VALUES = (
    None,
    True,
    -1,
    0,
    1,
    2,
    7,
    10**18,
    2**70,
    0.5,
    -1e300,
    float("nan"),
    "x",
    "cupy?",
    [],
    [3, 1],
    [-1],
    {},
    {"a": 1},
)
WORK = ("gibbs_steps", "ais_betas", "ais_chains")  # large ones are no fault: they say how much is to be done
DTYPES = ("f4", "f8", "i8", "u4", "i4", "u1", "?", "c8", "f2")


def damaged(data, rng):
    """The bytes with one to three places damaged, or a stretch lost, doubled, moved or added."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        n = len(data)
        if not n:
            break
        at, length = int(rng.integers(n)), int(min(2 ** rng.integers(0, 11), n))
        kind = rng.integers(9)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at] = int(rng.integers(256))
        elif kind == 2:
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == 3:
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
        elif kind == 4:
            del data[at : at + length]
        elif kind == 5:
            data[at:at] = data[at : at + length]
        elif kind == 6:
            other = int(rng.integers(n))
            data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
        elif kind == 7:
            del data[at:]
        else:
            data += rng.bytes(length)
    return bytes(data)


def parts_of(path):
    """(header, arrays) of a model file or checkpoint."""
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()[HEADER]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def forged(header, arrays, rng):
    """A file whose checksum is right and whose contents are not: one to three entries changed."""
    header, arrays = json.loads(json.dumps(header)), dict(arrays)
    for _ in range(_choose(rng, (1, 1, 1, 1, 2, 3))):
        if rng.random() < 0.4:
            _forge_header(header, rng)
        elif arrays:
            _forge_array(arrays, rng)
    header.pop("digest", None)
    if rng.random() < 0.95:
        header["digest"] = digest_of(header, arrays)
    text = json.dumps(header)
    if rng.random() < 0.05:
        text = _choose(rng, ("", "[]", "null", "{", "[" * 100_000, text[:-1], json.dumps([header]), "1" * 5000))
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {HEADER: text})


def _choose(rng, values):
    return values[int(rng.integers(len(values)))]


def _forge_header(header, rng):
    """Change, remove or add one entry, at whatever depth."""
    places = [header]
    for place in places:
        places += [value for value in place.values() if isinstance(value, dict)]
    place = _choose(rng, places)
    if not place or rng.random() < 0.05:
        place["added"] = deepcopy(_choose(rng, VALUES))
        return
    name = _choose(rng, sorted(place))
    kind = rng.integers(4)
    if kind == 0:
        del place[name]
    elif kind == 1 and isinstance(place[name], (int, float)):
        place[name] = place[name] + _choose(rng, (-1, 1, 2, 0.5))
    elif kind == 2 and isinstance(place[name], list) and place[name]:
        place[name][int(rng.integers(len(place[name])))] = deepcopy(_choose(rng, VALUES))
    else:
        place[name] = deepcopy(_choose(rng, [value for value in VALUES if name not in WORK or not _is_large(value)]))


def _is_large(value):
    return isinstance(value, int) and value > 100


def _forge_array(arrays, rng):
    """Change the entries, the shape or the kind of one array, or remove, double or rename it."""
    name = _choose(rng, sorted(arrays))
    array, kind = arrays[name].copy(), rng.integers(8)
    if kind <= 2 and array.size:
        at = int(rng.integers(array.size))
        if array.dtype.kind == "f":
            array.flat[at] = _choose(rng, (np.nan, np.inf, -np.inf, 1e30, -1.0, 0.0, float(rng.normal())))
        elif array.dtype.kind in "iu":
            low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
            array.flat[at] = _choose(rng, (low, high, 0, 1, 2, 5, max(low, -1), min(high, 100_000)))
    elif kind == 3 and array.ndim:
        axis = int(rng.integers(array.ndim))
        array = np.repeat(array, 2, axis) if rng.random() < 0.5 else array.take(range(array.shape[axis] // 2), axis)
    elif kind == 4:
        array = array.reshape(_choose(rng, ((-1,), (1, -1), (-1, 1)))) if array.size else array[None]
    elif kind == 5:
        with np.errstate(all="ignore"):
            array = array.astype(_choose(rng, DTYPES))
    elif kind == 6:
        arrays[_choose(rng, sorted(arrays))] = array
    else:
        del arrays[name]
        if rng.random() < 0.5:
            arrays[name + "_"] = array
        return
    arrays[name] = array
