"""The workers of a cluster take turns with a token, and ten requests a second stay ten."""

import itertools

import pytest
from helpers.marks import sample
from helpers.traffic import most_within
from helpers.waiting import wait_until

import trackstar_frames as tf
from trackstar_frames.distributed import token_lock
from trackstar_frames.sandbox import Sandbox

TWO = {"acme": "ACME_TOKEN", "beta": "BETA_SECRET"}


@pytest.fixture(scope="module")
def running(start_cluster, now, vault):
    assert vault
    with (
        Sandbox(orders=130, tokens=2, seed=5, now=now, days=80, rate_limit=None) as sandbox,
        start_cluster(sandbox) as running,
    ):
        yield running


@pytest.fixture
def leases(running):
    """Look at the leases of each semaphore that the scheduler knows."""
    return running.cluster.scheduler.extensions["semaphores"].leases


@pytest.fixture
def scale(running, monkeypatch):
    """Have so many workers, and give their addresses."""

    def scale(workers):
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        running.cluster.scale(workers)
        wait_until(lambda: len(running.client.scheduler_info()["workers"]) == workers)
        return list(running.client.scheduler_info()["workers"])

    return scale


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3, 1])
def test_the_rate_at_the_server_is_kept(running, scale, leases, *, workers):
    scale(workers)
    before = len(running.sandbox.requests)
    options = {"page_size": 5, "freq": "30D", "refresh": True}
    bounds = {"created_date__gte": "2025-12-12", "created_date__lt": "2026-03-05"}
    lazy = tf.fetch_orders_dask(TWO, **bounds, **options)
    assert len(lazy.compute(scheduler=running.client)) == 260
    seen = running.sandbox.requests[before:]
    for token in running.sandbox.access_tokens:
        times = [request.time for request in seen if request.token == token]
        assert len(times) >= 26
        assert most_within(times) <= 10
    assert len(leases) == 2
    wait_until(lambda: not any(leases.values()))


@pytest.mark.slow
@pytest.mark.parametrize(("requests", "pause"), sample([(1, 1), (0, 0)], 2))
def test_a_token_is_handed_over_when_its_requests_are_out_of_their_second(
    running, scale, vault, requests, pause
):
    addresses = scale(2)
    futures = [
        running.client.submit(vault.hold, 0.2, requests, workers=address, pure=False)
        for address in addresses * 2
    ]
    turns = sorted(running.client.gather(futures), key=lambda each: each[1])
    assert len({pid for pid, _, _ in turns}) == 2
    for (_, started, ended), (_, after, _) in itertools.pairwise(turns):
        assert after > ended
        assert after - started > pause


@pytest.mark.slow
def test_a_worker_continues_during_the_cooldown_of_its_token(running, scale, vault, leases):
    (address,) = scale(1)
    assert running.client.submit(vault.hold, 0, 0, cooldown=2, pure=False).result()
    assert running.client.submit(int, 7, workers=address, pure=False).result() == 7
    assert sum(map(len, leases.values())) == 1
    wait_until(lambda: not any(leases.values()))


@pytest.mark.slow
def test_the_lock_of_a_failed_task_is_released(running, vault, leases):
    with pytest.raises(KeyError, match="in its turn"):
        running.client.submit(vault.fail, pure=False).result()
    wait_until(lambda: not any(leases.values()))
    assert running.client.submit(vault.hold, 0, 0, pure=False).result()


@pytest.mark.slow
def test_nothing_of_a_lock_stays_on_the_worker(running, vault):
    for _ in range(2):
        running.client.submit(vault.hold, 0, 0, pure=False).result()
    wait_until(lambda: not any(running.client.run(vault.semaphores).values()))


def test_outside_of_a_cluster_there_is_nothing_to_do(serve):
    with serve().client() as client, token_lock(client):
        assert len(tf.fetch_orders_df(client=client)) == 60
