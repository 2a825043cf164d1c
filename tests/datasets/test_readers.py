"""Readers of IDX, CSV, NPY and NPZ files: whole files round trip, damaged ones are refused with the cause."""

import gzip

import numpy as np
import pytest

from csrl_core.datasets import DataFileError, read_idx, read_table

# ----------------------------------------------------------------------- IDX files, whole and damaged


def short_id(value):
    """Names tests by the length of a file's contents instead of the bytes themselves."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else None


def idx_bytes(array, code=0x08):
    shape = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(
    ("dtype", "code"), [("u1", 0x08), ("i1", 0x09), ("i2", 0x0B), ("i4", 0x0C), ("f4", 0x0D), ("f8", 0x0E)]
)
def test_idx_round_trip(dtype, code, tmp_path):
    array = (np.arange(24).reshape(2, 3, 4) * 5 - (0 if dtype == "u1" else 50)).astype(dtype)
    (tmp_path / "plain").write_bytes(idx_bytes(array, code))
    (tmp_path / "packed").write_bytes(gzip.compress(idx_bytes(array, code)))
    for name in ("plain", "packed"):
        found = read_idx(str(tmp_path / name))
        assert found.dtype == np.dtype(dtype)
        assert found.dtype.isnative
        assert found.flags.writeable
        assert np.array_equal(found, array)


WHOLE = idx_bytes(np.arange(30, dtype="u1").reshape(5, 3, 2))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "found 0 bytes, expected an IDX magic number of 4 bytes"),
        (WHOLE[:3], "found 3 bytes, expected an IDX magic number"),
        (WHOLE[:10], r"cut short: found 6 bytes of dimensions, expected 12 for 3 dimensions"),
        (WHOLE[:-1], r"cut short: found 29 bytes of values, expected 30 for shape \(5, 3, 2\) of uint8"),
        (WHOLE + b"\0", r"oversized: found more bytes of values, expected 30 for shape \(5, 3, 2\) of uint8"),
        (b"5,3,2\n", "found magic number 0x352c332c, expected that of an IDX file"),
        (b"\0\0\x08\0" + WHOLE[4:], "found magic number 0x00000800, expected .* a number of dimensions ≥ 1"),
        (b"\0\0\x07" + WHOLE[3:], "found IDX type code 0x07, expected one of 0x08, 0x09, 0x0b"),
        # dimensions that would need 2⁹⁶ bytes
        (WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], r"cut short: found 30 bytes of values, expected 7922816"),
    ],
    ids=short_id,
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_damaged_idx_is_refused(contents, message, pack, tmp_path):
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(pack(contents))
    with pytest.raises(DataFileError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def damaged_gzip(contents):
    packed = bytearray(gzip.compress(contents))
    checksum = bytearray(packed)
    checksum[-5] ^= 1  # the last byte of the checksum of the contents
    body = bytearray(packed)
    body[10] = 0xFF  # a block type that does not exist
    return {"cut": packed[:-9], "checksum": checksum, "body": body, "tail": packed + b"more"}


@pytest.mark.parametrize("damage", ["cut", "checksum", "body", "tail"])
def test_damaged_gzip_is_refused(damage, tmp_path):
    for name, contents, read in (("a.gz", WHOLE, read_idx), ("a.csv.gz", b"a,b\n1,2\n3,4\n", read_table)):
        path = tmp_path / name
        path.write_bytes(damaged_gzip(contents)[damage])
        with pytest.raises(DataFileError, match=f"{name}: the gzip stream is damaged or cut short"):
            read(path)


# ----------------------------------------------------------------------- tables, whole and damaged


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.csv", "1,2.5\n-3,4e1\n", ["x0", "x1"]),
        ("a.csv", "left,right\n1,2.5\n-3,4e1\n", ["left", "right"]),
        ("a.csv", '\ufeff"left, or so", right\r\n 1, 2.5\r\n\r\n-3,"40"', ["left, or so", "right"]),
        ("a.TSV", "left\tright\n1\t2.5\n-3\t40\n", ["left", "right"]),
        ("a.csv.gz", "1,2.5\n-3,40\n", ["x0", "x1"]),
        ("a.txt", "1,2.5\n-3,40", ["x0", "x1"]),
        ("a.csv", "a;b\n1;2.5\n-3;40\n", ["a", "b"]),
    ],
)
def test_csv(name, text, columns, tmp_path):
    contents = text.encode("utf-8")
    (tmp_path / name).write_bytes(gzip.compress(contents) if name.endswith(".gz") else contents)
    X, found = read_table(tmp_path / name)
    assert X.dtype == np.float64
    assert X.tolist() == [[1, 2.5], [-3, 40]]
    assert found == columns


def test_csv_delimiter_single_column_and_nan(tmp_path):
    (tmp_path / "a.csv").write_text("1;nan\n-inf;4\n")
    X, _ = read_table(str(tmp_path / "a.csv"), delimiter=";")
    assert np.array_equal(X, [[1, np.nan], [-np.inf, 4]], equal_nan=True)
    (tmp_path / "b.csv").write_text("height\n1\n\n2\n")
    X, columns = read_table(tmp_path / "b.csv")
    assert (X.tolist(), columns) == ([[1], [2]], ["height"])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "found no rows of numbers, expected at least one"),
        (b"a,b\n", "found no rows of numbers"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: found 3 columns, expected 2 as in the first row"),
        (b"a,b\n1,2\n3\n", "line 3: found 1 columns, expected 2"),
        (b"a,b\n1,2\n3,x\n", r"line 3, column 2 \('b'\): found 'x', expected a number"),
        (b"1,2\n,4\n", "line 2, column 1: found '', expected a number"),
        (b"1,label\n1,2\n", "line 1, column 2: found 'label', expected a number"),
        (b"1,2\n1_000,4\n", "line 2, column 1: found '1_000', expected a number"),
        (b"1,2\n\xff\xfe,4\n", "not UTF-8 text"),
        (b'1,2\n"' + b"3" * 200_000 + b'",4\n', "line 2: not readable as CSV .*expected rows of numbers"),
    ],
    ids=short_id,
)
def test_damaged_csv_is_refused(contents, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(contents)
    with pytest.raises(DataFileError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("u1", "f8"), ("?", "f8")],
)
def test_numpy_files(dtype, expected, tmp_path):
    array = np.array([[0, 1], [1, 1], [0, 0]]).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    np.savez(tmp_path / "one.npz", anything=array)
    np.savez_compressed(tmp_path / "several.npz", other=array[:1], X=array, third=1 - array.astype(int))
    for name in ("a.npy", "one.npz", "several.npz"):
        X, columns = read_table(tmp_path / name)
        assert X.dtype == np.dtype(expected)
        assert X.flags.c_contiguous
        assert np.array_equal(X, array)
        assert columns == ["x0", "x1"]
    X, _ = read_table(tmp_path / "several.npz", array="third")
    assert np.array_equal(X, 1 - array.astype(int))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, None]]), r"not readable as NP[YZ] \(Object arrays cannot be loaded.*not pickled objects"),
        (np.arange(3.0), r"found an array of shape \(3,\), expected 2 dimensions"),
        (np.zeros((2, 3, 4)), r"found an array of shape \(2, 3, 4\), expected 2 dimensions.*reshape"),
        (np.zeros((0, 3)), r"found an empty array of shape \(0, 3\)"),
        (np.array([["a", "b"]]), "found an array of <U1, expected real numbers"),
        (np.ones((2, 2), complex), "found an array of complex128, expected real numbers"),
    ],
)
def test_unsuitable_arrays_are_refused(array, message, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataFileError, match=message) as caught:
            read_table(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_npz_without_the_array(tmp_path):
    np.savez(tmp_path / "a.npz", train=np.eye(2), test=np.eye(3))
    with pytest.raises(DataFileError, match=r"found arrays \['train', 'test'\], expected one named 'X' \(`array="):
        read_table(tmp_path / "a.npz")
    with pytest.raises(DataFileError, match=r"found arrays \['train', 'test'\], expected one named 'valid'"):
        read_table(tmp_path / "a.npz", array="valid")
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"array='X' names an array of an NPZ file, got .*a\.csv"):
        read_table(tmp_path / "a.csv", array="X")


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_damaged_numpy_files_are_refused(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    array = np.random.default_rng(0).standard_normal((20, 3))
    np.save(path, array) if kind == "npy" else np.savez(path, X=array)
    whole = path.read_bytes()
    huge = whole.replace(b"(20, 3)", b"(9" + b"9" * 12 + b", 3)" if kind == "npy" else b"(21, 3)")
    flipped = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    damaged = {"empty": b"", "short": whole[:-20], "foreign": b"1,2\n3,4\n", "huge": huge}
    if kind == "npy":
        damaged["long"] = whole + b"\0"  # NPY has no checksum: only its length can be checked
    else:
        damaged["flipped"] = flipped
    for name, contents in damaged.items():
        path.write_bytes(contents)
        with pytest.raises(DataFileError, match=f"not readable as {kind.upper()}.*expected a whole file") as caught:
            read_table(path)
        assert str(path) in str(caught.value), name


def test_other_suffixes_and_missing_files(tmp_path):
    for name, shown in (("a.xlsx", r"'\.xlsx'"), ("a.npy.gz", r"'\.npy\.gz'"), ("a", "'none'")):
        (tmp_path / name).write_bytes(b"1,2\n")
        with pytest.raises(DataFileError, match=rf"found suffix {shown}, expected \.csv, \.txt"):
            read_table(tmp_path / name)
    for read in (read_table, read_idx):
        with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
            read(tmp_path / "absent.csv")


def test_an_empty_shape_too_large_to_count(tmp_path):
    shape = [2**32 - 1, 2**32 - 1, 2**32 - 1, 0]
    path = tmp_path / "images"
    path.write_bytes(bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes())
    with pytest.raises(DataFileError, match="found the shape"):
        read_idx(path)


@pytest.mark.parametrize("header", ["{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), ", "((((", "'''"])
def test_an_npy_header_that_is_no_python(tmp_path, header):
    path = tmp_path / "table.npy"
    text = header.encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48))
    with pytest.raises(DataFileError, match="not readable as NPY"):
        read_table(path)
