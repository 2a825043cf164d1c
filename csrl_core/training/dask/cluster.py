"""The Dask cluster of a fit: whose it is, whether its workers can compute with this package, and what ends with it."""

import sys
import warnings
from contextlib import contextmanager

from csrl_core._version import __version__
from csrl_core.training.dask import counted, is_collection
from csrl_core.training.on_disk import SamplesLostError

# What is evaluated on a worker, which may not have this package, so that no function of ours can be sent there.
_VERSION = "__import__('csrl_core').__version__"
REACHED = 4  # seconds within which who can be reached answers
_LOST = ("the samples on the Dask cluster are lost, since its scheduler has gone, or a worker with data that cannot be "
         "made anew; the parameters of the last whole epoch are kept. fit(X, resume=checkpoint) continues from a "
         "checkpoint, on another cluster too")  # fmt: skip


def current():
    """The `distributed.Client` that is in use here, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def _distributed(what):
    """The module; what : that needs it, for the error."""
    try:
        import distributed
    except ImportError:
        raise ImportError(f"a Dask {what} needs dask.distributed; pip install 'csrl_core[dask]'") from None
    return distributed


def connect(address):
    """A client of the scheduler at an address; it does not become the one in use.

    Raises
    ------
    ImportError
        There is no dask.distributed.
    ConnectionError
        No scheduler answers.
    """
    distributed = _distributed("cluster")
    try:
        return distributed.Client(address, timeout=REACHED, set_as_default=False)
    except OSError:
        raise ConnectionError(
            f"no Dask scheduler answers at {address} within {REACHED} s (dask scheduler starts one and says where)"
        ) from None


@contextmanager
def cluster_for(*arrays):
    """Context with a client if any of the arrays is a Dask collection: the one in use, or that of a cluster in here."""
    if not any(map(is_collection, arrays)):
        yield None
        return
    client = current()
    if client is not None:
        check_workers(client)
        yield client
        return
    with _local() as client:
        yield client


@contextmanager
def _local():
    """A client of a cluster in this process, with a line that says so."""
    distributed = _distributed("collection")
    from csrl_core.backends import usable_threads

    threads = usable_threads(-1)
    options = {"n_workers": 1, "threads_per_worker": threads, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        print(
            f"no Dask client is in use: computing in this process, by a LocalCluster of one worker with "
            f"{counted(threads, 'thread')}",
            file=sys.stderr,
            flush=True,
        )
        yield client


def own_versions(client):
    """Dict of worker's address → version of this package there, or the exception of its import."""
    return client.run(eval, _VERSION, on_error="return")


def check_workers(client):
    """Refuse workers that lack this package, or have another version of it.

    Raises
    ------
    RuntimeError
        It names the workers.
    """
    found = own_versions(client)
    wrong = {address: version for address, version in found.items() if version != __version__}
    if not wrong:
        return
    said = "; ".join(
        f"{address} has csrl_core {version}" if isinstance(version, str) else f"{address} cannot import it ({version})"
        for address, version in sorted(wrong.items())
    )
    raise RuntimeError(
        f"Dask workers need csrl_core {__version__}, as this process has it: {said}. Install it there "
        f"(pip install csrl_core=={__version__}), and start these workers anew"
    )


@contextmanager
def lost_without(client):
    """Context that raises `SamplesLostError` where the scheduler has gone, or data with a worker.

    Raises
    ------
    SamplesLostError
    """
    from distributed import CancelledError

    try:
        yield
    except SamplesLostError:
        raise
    except Exception as error:  # Dask has many for it
        if not isinstance(error, CancelledError) and _answers(client):
            raise
        raise SamplesLostError(_LOST) from error


def _answers(client):
    """Whether the scheduler does."""
    if client.scheduler is None:
        return False
    try:
        client.sync(client.scheduler.identity, callback_timeout=REACHED)
    except (OSError, TimeoutError):
        return False
    return client.status == "running"


def submit(client, function, *args, **options):
    """Future of a call of a function with effects or random numbers, as `Client.submit`.

    Raises
    ------
    SamplesLostError
        The scheduler has gone.
    """
    with lost_without(client), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # of numbers that belong to rows, which are larger
        return client.submit(function, *args, pure=False, **options)


def who_has(client, futures):
    """List of the addresses of the workers that hold each result, sorted.

    Raises
    ------
    SamplesLostError
        The scheduler has gone.
    """
    with lost_without(client):
        found = client.who_has(futures)
    return [sorted(found[future.key]) for future in futures]


def gather(client, futures):
    """The results of futures, in order.

    Raises
    ------
    SamplesLostError
        The scheduler has gone.
    """
    with lost_without(client):
        return client.gather(futures)
