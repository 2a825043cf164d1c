"""Data on the workers of a Dask cluster, as ``--dask ADDRESS`` has them; dask is imported only when that is given."""

import zlib
from contextlib import contextmanager
from pathlib import Path

from csrl_core.cli.table_request import BUILT_IN, STANDARD_INPUT
from csrl_core.training import sample_files
from csrl_core.training.dask import counted
from csrl_core.training.on_disk import BLOCK, blocks
from csrl_core.training.row_files import SampleFiles

BLOCK_BYTES, LEAST_BLOCKS = 2**24, 16  # of a partition, about; partitions of a data set, unless it has fewer rows
_ENDS = 2**16  # bytes of a file's beginning and end by which workers tell whether it is the same


@contextmanager
def connected(address, say):
    """Context with a client of the scheduler at an address; None without an address.

    Raises
    ------
    ImportError
        There is no dask.distributed.
    ConnectionError
        No scheduler answers, it has no workers, or these cannot compute with this package.
    """
    if address is None:
        yield None
        return
    from csrl_core.training.dask import cluster

    with cluster.connect(address) as client, client.as_current():
        threads = client.nthreads()
        if not threads:
            raise ConnectionError(f"the Dask scheduler at {address} has no workers; start some: dask worker {address}")
        try:
            cluster.check_workers(client)
        except RuntimeError as error:
            raise ConnectionError(str(error)) from None
        say(f"cluster    {address}: {counted(len(threads), 'worker')}, {counted(sum(threads.values()), 'thread')}")
        yield client


def left_on_disk(source, request):
    """Whether a data file is not read at once: as --out-of-core says, or since workers can read its rows themselves."""
    if request.dask is None:
        return getattr(request, "out_of_core", False)
    if source == STANDARD_INPUT or source.startswith(BUILT_IN) or not Path(source).is_file():
        return False
    choices = request.label_column, request.id_column, request.missing, request.columns, request.drop, request.key
    path = Path(source)
    return not {*choices} - {None, "none"} and (path.suffix.lower() == ".npy" or sample_files.is_idx(path))


def spread(X, client, say):
    """A Dask array of X (n, d): blocks that workers read, where they see the same file, or that are sent to them.

    X : array or `csrl_core.training.on_disk.Samples`
    """
    import dask.array as da

    n, d = X.shape
    rows = min(max(BLOCK, BLOCK_BYTES // (d * X.dtype.itemsize)), -(-n // LEAST_BLOCKS))
    pieces = blocks(n, rows)
    there = isinstance(X, SampleFiles) and _seen_by_all(client, X)
    parted, how = counted(len(pieces), "partition"), "read by" if there else "sent to"
    say(f"           {parted} of {rows} rows, {how} the workers")
    if there:
        from dask import delayed

        source = delayed(_absolute(X), traverse=False)
        parts = [source[piece] for piece in pieces]
    else:
        parts = [client.scatter(X[piece], hash=False) for piece in pieces]
    shapes = [(piece.stop - piece.start, d) for piece in pieces]
    arrays = [da.from_delayed(part, shape, X.dtype) for part, shape in zip(parts, shapes, strict=True)]
    return da.concatenate(arrays, axis=0)


def held(X, name, client, say):
    """X as `csrl_core.training.dask.samples.DaskSamples`; X itself without a client. name : of the file"""
    if client is None:
        return X
    from csrl_core.training.dask import partitions

    return partitions.opened(spread(X, client, say), name)


def answered(method, X, client, say):
    """A method's answers to the rows of X, computed by the workers: an iterator of arrays, in the order of the rows.

    Raises
    ------
    ConnectionError
        A worker died with a part of the data, or again and again at the same part, as one does that lacks memory.
    """
    from distributed import CancelledError, KilledWorker

    given = spread(X, client, say)  # until the last answer, since it keeps what was sent
    futures = client.compute(method(given).to_delayed().ravel().tolist())
    while futures:
        try:
            rows = futures.pop(0).result()
        except (CancelledError, KilledWorker) as error:
            raise ConnectionError(f"a Dask worker died, and its part of the data was not computed: {error}") from None
        yield rows


def _absolute(X):
    from dataclasses import replace

    return SampleFiles([replace(part, path=part.path.absolute()) for part in X.parts], X.dtype, X.name)


def _seen_by_all(client, X):
    """Whether every worker finds the files of X where they are here, with the same contents as far as that is quick."""
    paths = [part.path for part in _absolute(X).parts]
    own = mark(paths)
    return all(found == own for found in client.run(mark, paths).values())


def mark(paths):
    """Size of every file, and a checksum of its beginning and end; None for one that cannot be read."""
    marks = []
    for path in paths:
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                begin = file.read(_ENDS)
                file.seek(max(0, size - _ENDS))
                marks.append((size, zlib.crc32(begin + file.read(_ENDS))))
        except OSError:
            marks.append(None)
    return marks
