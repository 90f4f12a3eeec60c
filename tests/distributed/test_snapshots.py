"""A snapshot is read lazily: a partition for each part, in the types of the plain way."""

import shutil
from datetime import UTC, datetime
from hashlib import sha256

import dask
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dask.dataframe.utils import UNKNOWN_CATEGORIES
from helpers.marks import slow
from pandas.testing import assert_frame_equal

import trackstar_frames as tf
from trackstar_frames.distributed import DaskFrames
from trackstar_frames.info import join_infos
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import LIFECYCLE, TABLES
from trackstar_frames.snapshots import writer
from trackstar_frames.snapshots.manifest import MANIFEST_NAME, read_manifest
from trackstar_frames.storage import locate
from trackstar_frames.tables.assemble import concat


@pytest.fixture(autouse=True)
def _on_threads():
    with dask.config.set(scheduler="threads"):
        yield


@pytest.fixture(scope="module")
def fetched(now):
    """Orders of two connections, some of them odd, with a status that is new."""
    with Sandbox(orders=90, tokens=2, seed=5, now=now, odd=0.2, rate_limit=None) as sandbox:
        new = sandbox.orders[40] | {"status": "quarantined"}
        sandbox.upsert([new])
        frames = {}
        for token, label in enumerate(("acme", "beta")):
            with sandbox.client(token, connection=label, cache=False) as client:
                frames[label] = tf.fetch_orders(client=client)
        return frames


@pytest.fixture(scope="module", params=["one", "several"])
def frames(request, fetched):
    if request.param == "one":
        return fetched["acme"]
    tables = concat({label: each.to_arrow() for label, each in fetched.items()})
    return tf.OrderFrames(tables, join_infos({name: each.info for name, each in fetched.items()}))


@pytest.fixture(scope="module")
def written(frames, tmp_path_factory):
    """A snapshot of several parts."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "PART_SIZE", 25)
        tf.write_snapshot(frames, folder)
    return folder


@pytest.fixture
def root(written, tmp_path):
    """A copy of a snapshot of several parts, to do with as one likes."""
    return shutil.copytree(written, tmp_path, dirs_exist_ok=True)


def declared_as(lazy, frame):
    """Compare types; a status has no order, and who knows which categories in each partition."""
    kinds = frame.dtypes
    if isinstance(kinds.get("status"), pd.CategoricalDtype):
        kinds["status"] = pd.CategoricalDtype([*LIFECYCLE, UNKNOWN_CATEGORIES])
    pd.testing.assert_series_equal(lazy.dtypes, kinds)


ARROW = {"dtype_backend": "pyarrow"}
EACH_TABLE = [
    *((name, {}) for name in TABLES),
    ("orders", ARROW),
    *(slow(name, ARROW) for name in TABLES if name != "orders"),
]


def read_plainly(root, name, **options):
    frame = getattr(tf.read_snapshot(root, **options), name)
    if name == "orders":
        frame["status"] = frame["status"].cat.as_unordered()
    return frame


@pytest.mark.each_value
@pytest.mark.parametrize(("name", "options"), EACH_TABLE)
def test_every_table_is_as_read_snapshot_reads_it(root, name, options):
    lazy = getattr(tf.read_snapshot_dask(root, **options), name)
    computed, plain = lazy.compute(), read_plainly(root, name, **options)
    assert_frame_equal(computed.reset_index(drop=True), plain)
    assert computed.attrs == plain.attrs
    declared_as(lazy, plain)


@pytest.mark.each_value
@pytest.mark.parametrize(("name", "options"), EACH_TABLE)
def test_what_is_declared_is_what_each_partition_is(root, name, options):
    lazy = getattr(tf.read_snapshot_dask(root, **options), name)
    assert name != "orders" or lazy["status"].cat.known is False
    for number in range(lazy.npartitions):
        part = lazy.get_partition(number).compute()
        declared_as(lazy, part)
        if name == "orders":
            assert list(part["status"].cat.categories[:11]) == list(LIFECYCLE)
            assert UNKNOWN_CATEGORIES not in part["status"].cat.categories


@pytest.mark.each_value
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own
@pytest.mark.parametrize("dtype_backend", [None, "pyarrow"])
@pytest.mark.parametrize("name", ["orders", slow("packages"), "problems"])
def test_every_table_goes_to_parquet_and_back(root, tmp_path_factory, name, dtype_backend):
    lazy = getattr(tf.read_snapshot_dask(root, dtype_backend=dtype_backend), name)
    written = tmp_path_factory.mktemp("lazy")
    lazy.to_parquet(written / "all")
    lazy.dropna(subset=list(lazy.columns[:1])).to_parquet(written / "some")
    assert len(pq.read_table(written / "some")) == len(pq.read_table(written / "all"))
    # pandas knows a list of Arrow by this backend only.
    how = {} if dtype_backend is None else {"dtype_backend": dtype_backend}
    again = pd.read_parquet(written / "all", **how)
    plain = read_plainly(root, name)
    assert len(again) == len(plain) > 0
    for column in plain:
        was, now = (each[column].astype(object).dropna() for each in (plain, again))
        assert list(map(str, now.map(listed))) == list(map(str, was.map(listed))), column


def listed(value):
    """Make a plain list of whatever holds several values."""
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else value


def test_a_lazy_status_knows_its_categories_once_it_has_looked(root, frames):
    status = tf.read_snapshot_dask(root).orders["status"]
    known = status.cat.as_known()
    assert known.cat.known
    expected = {*frames.orders["status"].dropna()}
    assert expected <= {*known.cat.categories}
    assert UNKNOWN_CATEGORIES not in known.cat.categories


def test_info_and_repr_show_where_the_orders_come_from(root, frames):
    lazy = tf.read_snapshot_dask(root)
    assert isinstance(lazy, DaskFrames)
    assert lazy.info == frames.info
    parts = 4 if frames.info["connection"] else 8
    assert repr(lazy) == f"DaskFrames({parts} partitions; fetched_at={frames.info['fetched_at']})"


@pytest.mark.one_of(2)
def test_partition_i_of_every_table_is_of_the_same_orders(root):
    lazy = tf.read_snapshot_dask(root)
    assert {getattr(lazy, name).npartitions for name in TABLES} == {lazy.orders.npartitions}
    children = [getattr(lazy, name) for name in list(TABLES)[1:-1]]
    for number in range(lazy.orders.npartitions):
        orders = lazy.orders.get_partition(number)["id"].compute()
        for child in children:
            of = child.get_partition(number)["order_id"].compute()
            assert len(of) > 0
            assert set(of) <= set(orders)


@pytest.mark.one_of(2)
def test_tables_are_joined_without_a_shuffle(root):
    lazy, plain = tf.read_snapshot_dask(root), tf.read_snapshot(root)
    key = [each for each in ("connection", "id") if each in plain.orders]
    of = [each if each == "connection" else "order_id" for each in key]

    def join(lines, orders):
        return lines.merge(orders[[*key, "channel"]], left_on=of, right_on=key, how="left")

    joined = lazy.line_items.map_partitions(join, lazy.orders)
    units = joined.groupby("channel")["quantity"].sum().compute()
    expected = join(plain.line_items, plain.orders).groupby("channel")["quantity"].sum()
    pd.testing.assert_series_equal(units.sort_index(), expected.sort_index())


@pytest.mark.each_value
@pytest.mark.parametrize("columns", [["units_ordered"], ["tags", "status", "id"], "status", "id"])
def test_columns_can_be_chosen_in_any_sequence(root, columns):
    chosen = tf.read_snapshot_dask(root).orders[columns].compute().reset_index(drop=True)
    expected = read_plainly(root, "orders")[columns]
    compare = pd.testing.assert_series_equal if isinstance(columns, str) else assert_frame_equal
    compare(chosen, expected)


def test_a_part_without_a_row_in_a_table_keeps_its_types(tmp_path):
    tf.write_snapshot(tf.OrderFrames.from_json([{"id": "a"}]), tmp_path)
    lazy = tf.read_snapshot_dask(tmp_path)
    for name in TABLES:
        declared_as(getattr(lazy, name), getattr(lazy, name).compute())
        assert len(getattr(lazy, name)) == (name == "orders")


def test_damage_is_named_when_it_is_read_and_not_before(root):
    (snapshot,) = (locate(path) for path in tf.list_snapshots(root)["path"])
    path = snapshot / "packages" / "part-00001.parquet"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    lazy = tf.read_snapshot_dask(root)
    assert len(lazy.orders.compute()) == read_manifest(snapshot).rows("orders")
    with pytest.raises(tf.SnapshotError, match=r"packages/part-00001.parquet is damaged"):
        lazy.packages["package_id"].compute()


def test_a_snapshot_that_is_gone_is_named(root):
    lazy = tf.read_snapshot_dask(root)
    shutil.rmtree(tf.list_snapshots(root)["path"].iloc[0])
    with pytest.raises(tf.SnapshotError, match="was removed while it was read"):
        lazy.orders.compute()


def test_a_column_that_an_older_schema_did_not_have_is_null(fetched, tmp_path):
    snapshot = tf.write_snapshot(fetched["acme"], tmp_path)
    (file,) = snapshot.files["orders"]
    message = read_manifest(snapshot.path)
    pq.write_table(pq.ParquetFile(file).read().drop_columns("trackstar_updated_date"), file)
    reported = snapshot.path / MANIFEST_NAME
    known = message.parts[0].files["orders"].sha256
    reported.write_text(reported.read_text().replace(known, sha256(file.read_bytes()).hexdigest()))
    orders = tf.read_snapshot_dask(tmp_path).orders
    assert len(orders) == len(orders["trackstar_updated_date"].compute()) > 0
    assert orders["trackstar_updated_date"].isna().all().compute()
    assert_frame_equal(orders.compute(), read_plainly(tmp_path, "orders"))


@pytest.mark.slow
def test_it_chooses_as_read_snapshot_does(fetched, tmp_path):
    days = ["2026-01-01T00:00:00+00:00", "2026-01-02T06:00:00+00:00", "2026-01-03T00:00:00+00:00"]
    for day in days:
        info = fetched["acme"].info | {"fetched_at": day}
        tf.write_snapshot(tf.OrderFrames(fetched["acme"].to_arrow(), info), tmp_path)
    names = tf.list_snapshots(tmp_path)["name"]
    for which in ["latest", *names, "2026-01-02", datetime(2026, 1, 2, 6, tzinfo=UTC), *days]:
        assert tf.read_snapshot_dask(tmp_path, which).info == tf.read_snapshot(tmp_path, which).info


@pytest.mark.parametrize(
    ("snapshots", "which"),
    [(0, "latest"), (0, "a"), (1, "2025-01-01"), (1, "yesterday's"), (1, 3.5), (1, None)],
)
def test_it_raises_as_read_snapshot_does(fetched, tmp_path, snapshots, which):
    for _ in range(snapshots):
        tf.write_snapshot(fetched["acme"], tmp_path)
    message = []
    for read in (tf.read_snapshot, tf.read_snapshot_dask):
        with pytest.raises(tf.SnapshotError) as got:
            read(tmp_path, which)
        message.append(str(got.value))
    assert message[0] == message[1]


def test_an_unknown_backend_is_refused(tmp_path):
    with pytest.raises(tf.SettingsError, match="dtype_backend='numpy'"):
        tf.read_snapshot_dask(tmp_path, dtype_backend="numpy")


def test_the_same_snapshot_has_the_same_tasks(root):
    one, two = (tf.read_snapshot_dask(root).orders for _ in range(2))
    assert one.__dask_keys__() == two.__dask_keys__()


@pytest.mark.slow
@pytest.mark.parametrize("frames", ["several"], indirect=True)
def test_a_cluster_reads_it_too(root, use_cluster, serve):
    with use_cluster(serve(tokens=2)) as running:
        lazy = tf.read_snapshot_dask(root).orders
        computed = lazy.compute(scheduler=running.client).reset_index(drop=True)
    assert_frame_equal(computed, read_plainly(root, "orders"))
