"""What is told of a Dask cluster: its workers, their threads, and versions that differ from those of this process."""

import platform
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version

from csrl_core._version import __version__
from csrl_core.training.dask import cluster, counted

PACKAGES = "numpy", "numba"  # on which a worker's results depend, besides this package and Python
# Evaluated on workers, which may not have this package.
_VERSIONS = (
    "{{'python': __import__('platform').python_version()}} | {{each.metadata['Name']: each.version for each in "
    "__import__('importlib.metadata').metadata.distributions() if each.metadata['Name'] in {}}}"
)


def of_cluster(address=None):
    """List of (name, finding, whether it is as it should be) of the scheduler and every worker.

    address : of the scheduler; None: the client in use, without which the list is empty
    """
    try:
        client = cluster.current() if address is None else cluster.connect(address)
    except (ImportError, OSError) as error:
        return [("scheduler", str(error), False)]
    if client is None:
        return []
    with nullcontext() if address is None else client:
        threads, found = client.nthreads(), versions(client)
        rows = [("scheduler", f"{client.scheduler.address}, {counted(len(threads), 'worker')}", bool(threads))]
    here = {"python": platform.python_version(), "csrl_core": __version__}
    here |= {name: _version(name) for name in PACKAGES}
    for worker, there in found.items():
        other = [
            f"{name} {there.get(name, 'is not installed')}, here {own or 'not installed'}"
            for name, own in here.items()
            if there.get(name) != own
        ]
        rows.append((worker, "; ".join([counted(threads.get(worker, 0), "thread"), *other]), not other))
    return rows


def versions(client):
    """Dict of worker's address → dict of name → version, of Python, this package and the `PACKAGES` that are there.

    Where this package cannot be imported, its version is why.
    """
    found, own = client.run(eval, _VERSIONS.format(PACKAGES)), cluster.own_versions(client)
    return {address: found[address] | {"csrl_core": str(own[address])} for address in sorted(found)}


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
