"""A server of several connections, and a cluster of two processes that asks it."""

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import dask
import pytest
from distributed import Client, LocalCluster
from helpers.servers import connection_variables

#: So that the token of a worker that was killed is free soon; that a worker is started again, be
#: it killed twice within Dask's 15 seconds; and without the profiler, in which Python 3.11 can
#: freeze a worker for ever (CPython's issue 106883).
CONFIG = {
    "distributed.deploy.lost-worker-timeout": "1h",
    "distributed.scheduler.locks.lease-timeout": "2s",
    "distributed.scheduler.locks.lease-validation-interval": "200ms",
    "distributed.worker.profile.enabled": False,
}

#: What workers can import; they know no modules of tests.
VAULT = """
import gc
import os
import time

from distributed import Semaphore

from trackstar_frames.client import open_client
from trackstar_frames.distributed import token_lock

def set_environment(variables):
    os.environ.update(variables)

def beta():
    return os.environ["BETA_SECRET"]

def hold(seconds, requests, cooldown=0):
    with open_client("acme", "ACME_TOKEN") as client, token_lock(client):
        if cooldown:
            client.session._limiter.pause(cooldown)
        began = time.time()
        for _ in range(requests):
            client.session._limiter.acquire(10, lambda _, seconds: time.sleep(seconds))
        time.sleep(seconds)
        return os.getpid(), began, time.time()

def semaphores():
    gc.collect()
    return sum(isinstance(each, Semaphore) for each in gc.get_objects())

def fail():
    with open_client("acme", "ACME_TOKEN") as client, token_lock(client):
        raise KeyError("in its turn")
"""


@pytest.fixture(scope="session")
def vault(tmp_path_factory):
    """Import a module that workers can import too."""
    folder = tmp_path_factory.mktemp("vault")
    (folder / "trackstar_test_vault.py").write_text(VAULT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, sys.path)]))
        patch.delitem(sys.modules, "trackstar_test_vault", raising=False)
        yield __import__("trackstar_test_vault")


# Not of the session: an idle cluster costs a twentieth of a core for as long as it lives.
@pytest.fixture(scope="module")
def shared_cluster(vault):
    """A cluster of two processes for all tests that neither kill nor count them."""
    assert vault
    with dask.config.set(CONFIG), LocalCluster(**_options(2)) as cluster:
        yield cluster


def _options(workers):
    return {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}


def _environment(sandbox, cache_dir):
    variables = connection_variables(sandbox) | sandbox.environment
    return variables | {"TRACKSTAR_CACHE_DIR": str(cache_dir)}


@pytest.fixture(scope="module")
def use_cluster(tmp_path_factory, shared_cluster, vault):
    """Have the processes of the shared cluster know a server."""

    @contextmanager
    def use(sandbox):
        environment = _environment(sandbox, tmp_path_factory.mktemp("cache"))
        with (
            pytest.MonkeyPatch.context() as patch,
            dask.config.set(CONFIG),
            Client(shared_cluster, set_as_default=False) as client,
        ):
            for name, value in environment.items():
                patch.setenv(name, value)
            client.run(vault.set_environment, environment)
            yield SimpleNamespace(
                cluster=shared_cluster, client=client, sandbox=sandbox, environment=environment
            )

    return use


@pytest.fixture(scope="session")
def start_cluster(tmp_path_factory):
    """Start a cluster of processes whose environment knows a server."""

    @contextmanager
    def start(sandbox, workers=2):
        environment = _environment(sandbox, tmp_path_factory.mktemp("cache"))
        with (
            pytest.MonkeyPatch.context() as patch,
            dask.config.set(CONFIG),
        ):
            for name, value in environment.items():
                patch.setenv(name, value)
            with (
                LocalCluster(**_options(workers)) as cluster,
                Client(cluster, set_as_default=False) as client,
            ):
                yield SimpleNamespace(
                    cluster=cluster, client=client, sandbox=sandbox, environment=environment
                )

    return start


@pytest.fixture(scope="session")
def now():
    """Give the time up to which orders have happened."""
    return datetime(2026, 3, 4, 12, tzinfo=UTC)
