"""Types that never depend on the data, with both backends; frames that can be changed."""

import pickle
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.info import FetchInfo
from trackstar_frames.sandbox.server.faults import Fault
from trackstar_frames.schema import LIFECYCLE, TABLES, Column, Table
from trackstar_frames.tables.dtypes import to_frame, to_pandas_types

BACKENDS = [None, "pyarrow"]
TEXT = "str" if pd.__version__ >= "3" else "object"
DTYPES = {
    None: {
        "string": TEXT,
        "json": TEXT,
        "int": "Int64",
        "float": "float64",
        "bool": "boolean",
        "timestamp": "datetime64[us, UTC]",
        "strings": "object",
    },
    "pyarrow": {
        "string": pd.ArrowDtype(pa.string()),
        "json": pd.ArrowDtype(pa.string()),
        "int": pd.ArrowDtype(pa.int64()),
        "float": pd.ArrowDtype(pa.float64()),
        "bool": pd.ArrowDtype(pa.bool_()),
        "timestamp": pd.ArrowDtype(pa.timestamp("us", "UTC")),
        "strings": pd.ArrowDtype(pa.list_(pa.string())),
    },
}
LINES = [{"sku": "X", "quantity": 2, "unit_price": 1.25, "is_picked": True}]
FULL = {
    "id": "a1",
    "status": "packed",
    "created_date": "2026-01-31T13:45:00.000001Z",
    "total_price": 12.5,
    "saturday_delivery": True,
    "tags": ["gift", None, "", "gift"],
    "trackstar_tags": ["x", {"key": "k"}],
    "line_items": LINES,
    "shipments": [{"line_items": LINES, "packages": [{"line_items": LINES}]}],
}
NULLS = {
    "id": "a0",
    "line_items": [{}],
    "shipments": [{"line_items": [{}], "packages": [{"line_items": [{}]}]}],
}
GIVEN = {"empty": [], "all null": [NULLS], "one row": [FULL], "an unknown key": [FULL | {"zz": 1}]}


@pytest.fixture(params=[*GIVEN, "many"])
def orders(request, some_orders):
    return some_orders[:60] if request.param == "many" else GIVEN[request.param]


def plain(column):
    """List a column's values as Python has them, null as None."""
    lists = [list(each) if isinstance(each, np.ndarray | tuple) else each for each in column]
    return [each if isinstance(each, list) or not pd.isna(each) else None for each in lists]


@pytest.mark.each_value
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TABLES)
def test_types_and_values_of_every_column(orders, name, backend):
    frames = OrderFrames.from_json(orders, dtype_backend=backend)
    frame, table = getattr(frames, name), frames.to_arrow()[name]
    assert list(frame.columns) == [column.name for column in TABLES[name].columns]
    assert type(frame.index) is pd.RangeIndex
    assert len(frame) == len(table)
    for column in TABLES[name].columns:
        found = frame[column.name]
        if column.kind == "status":
            assert found.dtype == pd.CategoricalDtype(LIFECYCLE, ordered=True)
        else:
            assert found.dtype == DTYPES[backend][column.kind], column.name
        assert plain(found) == table[column.name].to_pylist(), column.name


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unknown_status_is_one_more_category_at_the_end(backend):
    given = [{"id": str(i), "status": s} for i, s in enumerate(["zz", "open", "aa", None, "zz"])]
    status = OrderFrames.from_json(given, dtype_backend=backend).orders["status"]
    assert status.dtype == pd.CategoricalDtype([*LIFECYCLE, "aa", "zz"], ordered=True)
    assert plain(status) == ["zz", "open", "aa", None, "zz"]
    assert (status > "other").tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_ends_of_the_calendar_are_kept(backend, tmp_path):
    dates = ["1990-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
    given = [{"id": str(i), "created_date": date} for i, date in enumerate(dates)]
    orders = OrderFrames.from_json(given, dtype_backend=backend).orders
    ends = [datetime(1990, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)]
    assert orders["created_date"].tolist() == ends
    orders.to_parquet(tmp_path / "orders.parquet")
    again = pd.read_parquet(tmp_path / "orders.parquet", dtype_backend="pyarrow")
    assert again["created_date"].tolist() == ends
    assert "9999-12-31" in repr(orders[["created_date"]])


@pytest.mark.each_value
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_written_is_read_back_with_either_backend(orders, backend, tmp_path):
    frames = OrderFrames.from_json(orders, dtype_backend=backend)
    frames.to_parquet(tmp_path / "all")
    again = OrderFrames.from_parquet(tmp_path / "all", dtype_backend=backend)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(frames, name))
        assert getattr(again, name).attrs["trackstar"] == frames.info


@pytest.mark.each_value
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_frame_goes_to_parquet_and_back(orders, backend, tmp_path):
    frames = OrderFrames.from_json(orders, dtype_backend=backend)
    for name in TABLES:
        frame = getattr(frames, name)
        frame.to_parquet(tmp_path / name)
        kwargs = {"dtype_backend": backend} if backend else {}
        again = pd.read_parquet(tmp_path / name, **kwargs)
        assert again.attrs == frame.attrs
        same = [column for column in frame if column != "status"]
        assert again[same].dtypes.tolist() == frame[same].dtypes.tolist()
        assert all(plain(again[column]) == plain(frame[column]) for column in frame)


OLD = {
    "string": "old",
    "json": "[]",
    "status": "open",
    "int": 1,
    "float": 2.5,
    "bool": True,
    "timestamp": pd.Timestamp("0999-01-01T00:00Z"),
    "strings": ["old", None],
}
NEW = {
    "string": "new",
    "json": "{}",
    "status": "fulfilled",
    "int": 7,
    "float": -1.0,
    "bool": False,
    "timestamp": pd.Timestamp("2026-05-05T01:02:03.000004Z"),
    "strings": ["new"],
}
#: A column of each kind of each table.
ONE_OF_EACH = sorted(
    {
        (table.name, column.kind): column.name
        for table in TABLES.values()
        for column in table.columns
    }.items()
)


@pytest.mark.each_value
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("place", "column"), ONE_OF_EACH)
def test_every_column_can_be_changed_and_what_was_fetched_stays(place, column, backend, tmp_path):
    name, kind = place
    frames = OrderFrames(three_rows(), FetchInfo(), dtype_backend=backend)
    frame, new = getattr(frames, name), NEW[kind]
    dtype = frame[column].dtype
    if kind == "strings":  # pandas takes a bare list for a value of each row
        frame.loc[frame.index[[0, 2]], column] = pd.Series([new, new], [0, 2], dtype=dtype)
    else:
        frame.loc[0, column] = new
        frame.iloc[2:, frame.columns.get_loc(column)] = new
    frame.loc[1, column] = None
    assert plain(frame[column]) == [new, None, new]
    assert frame[column].dtype == dtype
    assert frames.to_arrow() == three_rows()
    frames.to_parquet(tmp_path / "all")
    assert OrderFrames.from_parquet(tmp_path / "all").to_arrow() == three_rows()


def three_rows():
    """Make tables without a null: the ones that a conversion is most tempted not to copy."""
    return {
        name: pa.table({c.name: pa.array([OLD[c.kind]] * 3, c.field.type) for c in table.columns})
        for name, table in TABLES.items()
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns_can_be_reckoned_with_in_place(backend):
    frames = OrderFrames.from_json([FULL, NULLS], dtype_backend=backend)
    before = {name: table.to_pylist() for name, table in frames.to_arrow().items()}
    orders = frames.orders
    orders["total_price"] += 1
    orders["units_ordered"] *= 3
    orders["created_date"] += pd.Timedelta("1h")
    orders["saturday_delivery"] |= False
    orders["id"] += "!"
    orders["new"] = orders["total_price"] > 1
    orders.loc[:, "total_tax"] = 0.5
    lines = frames.line_items
    lines["unit_price"] = lines["unit_price"].fillna(0)
    row = orders.set_index("id").loc["a1!"]
    assert (row["total_price"], row["units_ordered"], row["total_tax"]) == (13.5, 6, 0.5)
    assert row["created_date"] == pd.Timestamp("2026-01-31T14:45:00.000001Z")
    assert {name: table.to_pylist() for name, table in frames.to_arrow().items()} == before


def test_arrow_types_share_the_memory_of_the_tables(some_orders):
    frames = OrderFrames.from_json(some_orders, dtype_backend="pyarrow")
    for name, table in frames.to_arrow().items():
        frame = getattr(frames, name)
        for column in set(table.column_names) - ({"status"} if name == "orders" else set()):
            shown = pa.chunked_array(frame[column].array.__arrow_array__())
            assert addresses(shown) <= addresses(table[column]), column
            assert addresses(shown) or not len(table)


def addresses(column):
    return {each.address for chunk in column.chunks for each in chunk.buffers() if each}


_SOME = Table("some", "", (), "", tuple(Column(k, k, "") for k in ("string", "status", "strings")))
_TEXT = st.none() | st.text(max_size=3)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "string": _TEXT,
            "status": _TEXT | st.sampled_from(LIFECYCLE),
            "strings": st.none() | st.lists(_TEXT, max_size=4),
        }
    ),
    max_size=9,
)


@given(pieces=st.lists(_ROWS, min_size=1, max_size=4))
def test_tables_in_pieces_are_kept(pieces):
    tables = [pa.Table.from_pylist(rows, _SOME.schema) for rows in pieces]
    table = pa.concat_tables([tables[0].slice(1), *tables])
    for backend in BACKENDS:
        frame = to_frame(table, _SOME, backend)
        assert {name: plain(frame[name]) for name in frame} == table.to_pydict()
        assert type(frame.index) is pd.RangeIndex


def test_equal_tags_are_one_object():
    tags = OrderFrames.from_json([FULL, FULL | {"id": "a2"}]).orders["tags"]
    assert tags[0][0] is tags[1][3]
    assert tags[0] is not tags[1]


@pytest.mark.parametrize("wrong", ["numpy_nullable", "Pyarrow", "", 5, True, pd.NA, ["pyarrow"]])
def test_another_backend_is_refused_before_any_work(serve, wrong, tmp_path):
    sandbox = serve()
    calls = [
        lambda: OrderFrames.from_json(unread(), dtype_backend=wrong),
        lambda: OrderFrames.from_parquet(tmp_path / "nothing", dtype_backend=wrong),
        lambda: tf.read_snapshot(tmp_path / "nothing", dtype_backend=wrong),
        lambda: tf.Snapshot("", tmp_path / "nothing", {}).read(dtype_backend=wrong),
        lambda: tf.fetch_orders(client=sandbox.client(), dtype_backend=wrong),
        lambda: tf.fetch_orders_df(client=sandbox.client(), dtype_backend=wrong),
    ]
    for call in calls:
        with pytest.raises(tf.SettingsError, match=r"dtype_backend=.*'pyarrow', or None") as caught:
            call()
        assert "None, which already gives nullable Int64 and boolean" in str(caught.value)
    assert not sandbox.requests


def unread():
    pytest.fail("this was read")
    yield FULL


def is_arrow(frame):
    return isinstance(frame["id"].dtype, pd.ArrowDtype)


def test_the_backend_goes_from_the_call_to_every_frame(serve, tmp_path):
    client = serve().client()
    frames = tf.fetch_orders(client=client, dtype_backend="pyarrow", snapshot=tmp_path)
    assert is_arrow(frames.orders)
    assert frames.dtype_backend == "pyarrow"
    assert is_arrow(tf.fetch_orders_df(client=client, dtype_backend="pyarrow"))
    assert is_arrow(tf.read_snapshot(tmp_path, dtype_backend="pyarrow").orders)
    assert not is_arrow(tf.read_snapshot(tmp_path).orders)
    (path,) = tf.list_snapshots(tmp_path)["path"]
    snapshot = tf.Snapshot("", tmp_path / path, {})
    assert is_arrow(snapshot.read(dtype_backend="pyarrow").orders)


def test_the_backend_is_pickled():
    frames = OrderFrames.from_json(FULL, dtype_backend="pyarrow")
    for _ in range(2):
        again = pickle.loads(pickle.dumps(frames))
        assert is_arrow(again.orders)
        assert frames.orders["id"].tolist() == ["a1"]  # and the second time with a frame made


def test_a_fetch_that_breaks_keeps_the_backend(serve_with_client):
    _, client = serve_with_client(Fault("status", status=403, nth=2))
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client, page_size=40, dtype_backend="pyarrow")
    assert is_arrow(caught.value.frames.orders)
    assert is_arrow(caught.value.resume().orders)


@pytest.mark.parametrize("value", ["full", None])
@pytest.mark.parametrize(
    ("kind", "full", "own"),
    [
        (pa.int16(), 1, "Int64"),
        (pa.uint8(), 1, "Int64"),
        (pa.int64(), 2**62 + 1, "Int64"),
        (pa.float32(), 0.5, "float32"),
        (pa.bool_(), True, "boolean"),
        (pa.string(), "x", TEXT),
        (pa.large_string(), "x", TEXT),
        (pa.list_(pa.string()), ["x", None], "object"),
        (pa.timestamp("ns"), pd.Timestamp(1), "datetime64[ns]"),
        (pa.timestamp("s", "UTC"), pd.Timestamp("2026-01-01T00:00Z"), "datetime64[s, UTC]"),
    ],
    ids=str,
)
def test_columns_of_arrow_become_pandas_own(kind, full, own, value):
    values = [None, full if value else None]
    column = to_pandas_types(pd.Series(values, ["a", "a"], pd.ArrowDtype(kind), "x"))
    assert column.dtype == own
    assert (column.name, list(column.index)) == ("x", ["a", "a"])
    assert plain(column) == values


def test_lists_of_arrow_become_tuples():
    kind = pd.ArrowDtype(pa.list_(pa.string()))
    assert to_pandas_types(pd.Series([["x", None], None], dtype=kind)).tolist() == [
        ("x", None),
        None,
    ]


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test_nullable_strings_become_pandas_own(storage):
    column = to_pandas_types(pd.Series(["x", None], ["a", "a"], pd.StringDtype(storage), name="x"))
    assert column.dtype == TEXT
    assert (column.name, list(column.index)) == ("x", ["a", "a"])
    assert plain(column) == ["x", None]


def test_columns_that_are_not_of_arrow_are_left_alone():
    column = pd.Series([1, 2])
    assert to_pandas_types(column) is column
