"""A lazy fetch gives what the plain one gives, on threads and on a cluster."""

import pickle

import dask
import numpy as np
import pandas as pd
import pytest
from dask.dataframe.utils import UNKNOWN_CATEGORIES
from helpers import changing_server
from helpers.lazy import fetch_plain, sort_rows
from helpers.marks import slow
from helpers.servers import connection_variables

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox

TWO = {"beta": "BETA_SECRET", "acme": "ACME_TOKEN"}
BOUNDS = {"created_date__gte": "2025-12-20", "created_date__lt": "2026-03-05"}


@pytest.fixture(scope="module")
def sandbox(now):
    with Sandbox(orders=200, tokens=2, seed=5, now=now, days=80, odd=0.05, rate_limit=None) as it:
        # One order of a status that is new, another one in each connection, and one id in both.
        for token, status in enumerate(("quarantined", "at_customs")):
            order = it.orders_of(token)[60 + token]
            it.upsert([order | {"status": status}], token)
            it.upsert([it.orders_of(0)[0] | {"order_number": f"twin {token}"}], token)
        yield it


@pytest.fixture(scope="module")
def running(use_cluster, sandbox):
    with use_cluster(sandbox) as running:
        yield running


@pytest.fixture
def here(sandbox, monkeypatch):
    """Be a worker oneself."""
    for name, value in connection_variables(sandbox).items():
        monkeypatch.setenv(name, value)
    with dask.config.set(scheduler="threads"):
        yield


@pytest.mark.parametrize(
    ("freq", "asked"),
    [
        slow("D", {}),
        slow("MS", BOUNDS),
        ("MS", BOUNDS | {"dtype_backend": "pyarrow"}),
        slow("W", BOUNDS | {"type": "d2c"}),
        slow("MS", BOUNDS | {"page_size": 7}),  # partitions of several pages, which are closed
        ("YS", {"created_date__gt": "2026-01-03"}),
    ],
)
@pytest.mark.usefixtures("here")
def test_it_gives_what_fetch_orders_gives(sandbox, freq, asked):
    lazy, expected = tf.fetch_orders_dask(TWO, freq=freq, **asked), fetch_plain(sandbox, **asked)
    assert_same(sort_rows(lazy.compute()), sort_rows(expected))
    assert_declared(lazy, expected)


def assert_same(computed, expected):
    """Compare all but the categories of statuses, whose known ones come first."""
    known, unknown = (list(each) for each in np.split(computed["status"].cat.categories, [11]))
    assert known == list(tf.schema.LIFECYCLE)
    assert set(unknown) <= {"quarantined", "at_customs"}
    assert not computed["status"].cat.ordered
    text = {"status": object}
    pd.testing.assert_frame_equal(computed.astype(text), expected.astype(text))


def assert_declared(lazy, expected):
    declared, found = lazy.dtypes.drop("status"), expected.dtypes.drop("status")
    pd.testing.assert_series_equal(declared, found)
    assert list(lazy["status"].dtype.categories) == [*tf.schema.LIFECYCLE, UNKNOWN_CATEGORIES]
    assert not lazy["status"].cat.known


@pytest.mark.one_of(2)
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own
@pytest.mark.parametrize("dtype_backend", [None, "pyarrow"])
@pytest.mark.usefixtures("here")
def test_what_is_fetched_goes_to_parquet(tmp_path, dtype_backend):
    asked = {"created_date__gte": "2025-10-01", "created_date__lt": "2026-03-05"}
    lazy = tf.fetch_orders_dask(TWO, dtype_backend=dtype_backend, **asked).persist()
    assert 0 in lazy.map_partitions(len).compute().tolist()
    lazy.to_parquet(tmp_path / "orders")
    again = pd.read_parquet(tmp_path / "orders", dtype_backend="pyarrow")
    was, now = (
        each.sort_values(["connection", "id"])[["id", "status", "tags"]].astype(object)
        for each in (lazy.compute(), again)
    )
    for column in was:
        assert list(now[column].isna()) == list(was[column].isna())
        assert [list(each) for each in now[column].dropna()] == [
            list(each) for each in was[column].dropna()
        ]


def test_a_cluster_gives_what_fetch_orders_gives(running, sandbox, vault):
    sources = {"beta": vault.beta, "acme": "ACME_TOKEN"}
    lazy = tf.fetch_orders_dask(sources, freq="17D", **BOUNDS)
    assert lazy.npartitions > 8
    computed = lazy.compute(scheduler=running.client)
    assert_same(sort_rows(computed), sort_rows(fetch_plain(sandbox, **BOUNDS)))
    assert len(running.client.scheduler_info()["workers"]) == 2


@pytest.mark.usefixtures("here")
def test_rows_of_a_partition_are_sorted_and_have_their_metadata():
    lazy = tf.fetch_orders_dask(TWO, **BOUNDS)
    for number, label in enumerate(["acme", "beta", "acme"]):
        frame = lazy.get_partition(number).compute()
        assert set(frame["connection"]) == {label}
        assert frame["created_date"].is_monotonic_increasing
        info = frame.attrs["trackstar"]
        assert (info["connection"], info["complete"]) == (label, True)
        assert info["filters"] == BOUNDS


@pytest.mark.usefixtures("here")
def test_an_empty_partition_keeps_its_types(sandbox):
    lazy = tf.fetch_orders_dask(TWO, created_date__gte="2001-01-01", created_date__lt="2001-03-01")
    frame = lazy.compute()
    assert (lazy.npartitions, len(frame)) == (4, 0)
    pd.testing.assert_series_equal(frame.dtypes.drop("status"), lazy.dtypes.drop("status"))
    assert list(frame["status"].cat.categories) == list(tf.schema.LIFECYCLE)
    assert_declared(lazy, fetch_plain(sandbox, **BOUNDS))


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_tags_are_tuples_and_statuses_compare_though_one_is_new(sandbox):
    lazy, expected = tf.fetch_orders_dask(TWO, **BOUNDS), fetch_plain(sandbox, **BOUNDS)
    tags = lazy["tags"].compute()
    assert {type(each) for each in tags} == {tuple, type(None)}
    assert sum(map(len, tags.dropna())) == sum(map(len, expected["tags"].dropna()))
    unfinished = lazy[lazy["status"].cat.as_ordered() < "fulfilled"]
    before = tf.schema.LIFECYCLE[: tf.schema.LIFECYCLE.index("fulfilled")]
    assert len(unfinished) == expected["status"].isin(before).sum() > 0
    counts = lazy["status"].value_counts().compute()
    assert counts["quarantined"] == counts["at_customs"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_measures_work_on_what_was_computed(sandbox):
    computed = tf.fetch_orders_dask(TWO, **BOUNDS).compute()
    expected = tf.status_mix(fetch_plain(sandbox, **BOUNDS), by="connection")
    pd.testing.assert_frame_equal(tf.status_mix(computed, by="connection"), expected)


@pytest.mark.usefixtures("here")
def test_nothing_is_requested_before_it_is_computed_and_then_no_more_than_is_needed(sandbox):
    before = len(sandbox.requests)
    lazy = tf.fetch_orders_dask(TWO, **BOUNDS)
    some = lazy[lazy["status"] == "open"][["id", "units_ordered"]]
    assert (len(sandbox.requests) - before, len(some.columns)) == (0, 2)
    assert len(lazy.head(3)) == 3
    assert len(sandbox.requests) - before == 1


@pytest.mark.usefixtures("here")
@pytest.mark.slow
def test_computing_again_reads_from_disk_or_the_server(sandbox):
    counts = []
    for refresh in (False, False, True, True):
        lazy = tf.fetch_orders_dask(TWO, refresh=refresh, **BOUNDS)
        for _ in range(2):
            before = len(sandbox.requests)
            lazy.compute()
            counts.append(len(sandbox.requests) - before)
    pieces = lazy.npartitions
    assert counts == [pieces, 0, 0, 0] + [pieces] * 4


@pytest.mark.usefixtures("here")
def test_offline_reads_from_disk_and_reports_what_is_missing():
    with pytest.raises(tf.OfflineMissError, match="offline=True") as got:
        tf.fetch_orders_dask(TWO, offline=True, **BOUNDS).compute()
    assert got.value.__notes__[0].startswith(("in connection 'acme', created", "in connection 'b"))
    online = tf.fetch_orders_dask(TWO, **BOUNDS).compute()
    offline = tf.fetch_orders_dask(TWO, offline=True, **BOUNDS).compute()
    pd.testing.assert_frame_equal(sort_rows(offline), sort_rows(online))


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_personal_data_are_dropped_before_they_are_handed_on(sandbox):
    frame = tf.fetch_orders_dask(TWO, pii="drop", **BOUNDS).compute()
    assert frame["ship_to_address_full_name"].isna().all()
    assert frame["ship_to_address_country"].notna().any()
    assert len(frame) > 100 < len(sandbox.orders)


@pytest.mark.filterwarnings("ignore:the server sent .* outside the filters")
def test_a_server_that_ignores_the_windows_is_an_error(monkeypatch):
    made = [
        changing_server.order(number, changing_server.START + number * 86_400)
        for number in range(60)
    ]
    shop = changing_server.Shop(made, ignored=["created_date"])
    with changing_server.serve(shop) as url:
        for name, value in (("API_KEY", "key"), ("BASE_URL", url)):
            monkeypatch.setenv(f"TRACKSTAR_{name}", value)
        monkeypatch.setenv("ACME_TOKEN", "token")
        lazy = tf.fetch_orders_dask({"acme": "ACME_TOKEN"}, created_date__gte="2026-01-01")
        with pytest.raises(tf.ResponseError, match="ignores created_date") as got:
            lazy.compute(scheduler="synchronous")
    assert got.value.__notes__[0].startswith("in connection 'acme', created_date[gte]=2026-")


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_the_error_that_arrives_is_ours_and_names_the_connection(running, monkeypatch, where):
    lazy = tf.fetch_orders_dask({"acme": "ACME_TOKEN", "gamma": "NOBODY"}, **BOUNDS)
    for name, value in connection_variables(running.sandbox).items():
        monkeypatch.setenv(name, value)
    scheduler = "threads" if where == "here" else running.client
    with pytest.raises(tf.CredentialsError, match=r"connections\['gamma'\]") as got:
        lazy.compute(scheduler=scheduler)
    assert len(got.value.__notes__) == 1
    assert got.value.__notes__[0].startswith("in connection 'gamma', created_date[gte]=202")
    again = pickle.loads(pickle.dumps(got.value))
    assert (str(again), again.__notes__) == (str(got.value), got.value.__notes__)


@pytest.mark.slow
def test_a_fetch_that_breaks_on_a_worker_continues_from_its_disk(start_cluster, now):
    faults = [Fault("status", status=403, nth=4)]
    options = {"tokens": 2, "seed": 6, "now": now, "days": 30, "faults": faults}
    with (
        Sandbox(orders=60, rate_limit=None, **options) as sandbox,
        start_cluster(sandbox, workers=1) as running,  # which pages come first is certain then
    ):
        with pytest.raises(tf.IncompleteFetchError, match="the API returned 403") as got:
            tf.fetch_orders_dask(TWO, page_size=10).compute(scheduler=running.client)
        assert (got.value.pages, got.value.frames, got.value.status) == (3, None, 403)
        assert isinstance(got.value.__cause__, tf.AuthError)
        computed = tf.fetch_orders_dask(TWO, page_size=10).compute(scheduler=running.client)
        paths = [(request.token, request.path) for request in sandbox.requests]
        assert len(paths) == len(set(paths)) + 1
        expected = fetch_plain(sandbox)
    assert_same(sort_rows(computed), sort_rows(expected))
