"""Sweeps on more than one machine, by Dask: `local:2`, or a scheduler's address.

Workers are sent names and hashes, and send back the bytes of finished cells, which this process
stores: the machines need no common file system for results. A worker reads a checkpoint from the
same path, from the bundled ones, or as <content hash>.safetensors from the folder `checkpoints` in
ROBUSTSSM_CACHE_DIR.
"""

import logging
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from robustssm.errors import RobustssmError, UsageError
from robustssm.evaluations.sweep.backends import IN_FLIGHT, Chunk
from robustssm.evaluations.sweep.plan import Cell
from robustssm.evaluations.sweep.run_directory import RunDirectory
from robustssm.evaluations.sweep.worker import CellEnd, WorkOptions, failure, keep, run_chunk_apart
from robustssm.execution import handling, sealed, versions
from robustssm.plain_text import is_count

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_PATIENCE = "30s"
# A worker of this machine that died and is not back after _LOST is given up by Dask for good;
# every _CHECK seconds those that are gone are started anew.
_LOST = "60s"
_CHECK = 5.0


class ClusterError(RobustssmError):
    """A cluster cannot be reached, or its workers are of another version."""


def cluster(chunks: Iterable[Chunk], options: WorkOptions, address: str) -> Iterator[CellEnd]:
    """Compute chunks on a Dask cluster; yield the ends of cells as they finish.

    address: `local:N` for N processes of this machine, else a scheduler's, as in
    tcp://host:8786. A worker that dies is replaced by others; a cell that several workers died
    with fails. Raises UsageError or ClusterError if there is no such cluster.
    """
    assert options.directory is not None
    run = RunDirectory(options.directory)
    with ExitStack() as stack:
        client = _client(address, stack)
        _check_versions(client)
        try:
            yield from _flow(client, chunks, replace(options, directory=None), run)
        except Exception as error:
            if client.status == "running":
                raise
            raise ClusterError(
                f"cluster {address}: its scheduler was lost; what is finished is kept, start a "
                "scheduler and workers, then run the command again with its address"
            ) from error


def local_workers(address: str) -> int:
    """Return N of `local:N`, 0 for the address of a scheduler; UsageError for neither."""
    kind, _, count = address.partition(":")
    if kind == "local" and is_count(count) and int(count) > 0:
        return int(count)
    if kind == "local" or "://" not in address:
        raise UsageError(
            f"cluster: {address!r} is not understood, expected as in local:2 or tcp://host:8786"
        )
    return 0


def reach(address: str) -> None:
    """Raise what `cluster` would raise where no such cluster answers; nothing is computed."""
    if not local_workers(address):
        with ExitStack() as stack:
            _check_versions(_client(address, stack))


@contextmanager
def _kept_up(cluster: "LocalCluster", count: int) -> Iterator[None]:
    """Start workers anew that Dask gave up, as it does with those that die while they start."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_CHECK):
            cluster.scale(count)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _client(address: str, stack: ExitStack) -> "Client":
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise ClusterError(
            "cluster: Dask is not installed; run pip install 'robustssm[dask]'"
        ) from None
    for name in ("distributed", "distributed.client", "distributed.comm"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    count = local_workers(address)
    if count:
        settings = {
            "distributed.worker.daemon": True,
            "distributed.deploy.lost-worker-timeout": _LOST,
        }
        stack.enter_context(dask.config.set(settings))
        stack.enter_context(sealed())
        # Ctrl-C in a terminal reaches workers, too: they inherit that it is ignored, and
        # are ended from here.
        with handling(signal.SIG_IGN, signal.SIGINT):
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                )
            )
        stack.enter_context(_kept_up(cluster, count))
        return stack.enter_context(Client(cluster))
    try:
        client = stack.enter_context(Client(address, timeout=_PATIENCE))
        client.wait_for_workers(1, timeout=_PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"cluster {address}: no scheduler with workers answers ({error or 'timeout'}); start "
            "`dask scheduler` and `dask worker`, or use --cluster local:2"
        ) from None
    return client


def _check_versions(client: "Client") -> None:
    mine = versions()
    for worker, theirs in client.run(versions).items():
        other = [f"{k} {theirs.get(k)}, here {v}" for k, v in mine.items() if theirs.get(k) != v]
        if other:
            raise ClusterError(
                f"cluster: worker {worker} has {'; '.join(other)}; install the same versions"
            )


def _flow(
    client: "Client", chunks: Iterable[Chunk], options: WorkOptions, run: RunDirectory
) -> Iterator[CellEnd]:
    """Yield the ends of stored cells, few chunks in flight."""
    from distributed import as_completed

    rest = iter(chunks)
    given: dict[str, Chunk] = {}

    def submit(chunk: Chunk) -> Any:
        future = client.submit(run_chunk_apart, list(chunk), options, pure=False)
        given[str(future.key)] = chunk
        return future

    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    completed = as_completed([submit(chunk) for chunk in islice(rest, IN_FLIGHT * workers)])
    suspects: list[Cell] = []
    for future in completed:
        chunk = given.pop(str(future.key))
        try:
            # Computed again where the worker that had it died before it was fetched.
            ends = future.result()
        except Exception:
            if client.status != "running":
                raise
            ends = []
            if len(chunk) > 1:
                # One of them kills workers: they are tried one by one.
                for cell in chunk:
                    completed.add(submit([cell]))
            else:
                suspects.append(chunk[0])
        for end in ends:
            yield keep(end, run)
        for chunk in islice(rest, 1):
            completed.add(submit(chunk))
    # Workers died with these, maybe of a neighbour: each once more, with nothing beside it.
    for cell in suspects:
        try:
            ends = submit([cell]).result()
        except Exception as error:
            if client.status != "running":
                raise
            ends = [failure(cell, error)]
        for end in ends:
            yield keep(end, run)
