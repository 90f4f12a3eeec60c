"""What a manager asks for next: every kind of frame, several policies, labels, and wrong calls."""

import datetime as dt
from itertools import pairwise
from types import SimpleNamespace

import dask
import dask.dataframe as dd
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import trackstar_frames as tf
from trackstar_frames.measures import DUE_BUCKETS

NOW = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
POLICY = tf.SlaPolicy(tz="America/New_York", target=0.9)
TABLES = [
    *("orders", "shipments", "shipment_line_items", "packages", "package_line_items"),
]
MEASURES = {
    "due_next": lambda frames, **more: tf.due_next(frames.orders, **more),
    "sla_scorecard": lambda frames, **more: tf.sla_scorecard(frames.orders, **more),
    "failure_rates": lambda frames, **more: tf.failure_rates(frames.orders, **more),
    "throughput": tf.throughput,
    "service_profile": tf.service_profile,
    "shipping_costs": tf.shipping_costs,
}
ALL = pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's, of pandas


@pytest.fixture(scope="module")
def frames(some_orders):
    return tf.OrderFrames.from_json(some_orders)


@pytest.fixture(scope="module")
def partitioned(some_orders):
    """Three partitions, of which one is empty."""
    bounds = [0, 120, 120, len(some_orders)]
    pieces = [tf.OrderFrames.from_json(some_orders[start:end]) for start, end in pairwise(bounds)]
    return SimpleNamespace(
        **{
            name: dd.from_map(
                lambda number, name=name: getattr(pieces[number], name),
                range(3),
                meta=getattr(pieces[0], name).iloc[:0],
            )
            for name in TABLES
        }
    )


def assert_same(found, expected):
    assert_frame_equal(found, expected)
    assert found.attrs["trackstar"]["compliance"] == expected.attrs["trackstar"]["compliance"]


@pytest.mark.one_of(4)
@ALL
@pytest.mark.parametrize("by", [None, "warehouse_id", ["type", "channel"]])
def test_arrow_types_make_no_difference(some_orders, frames, measure, by):
    arrow = tf.OrderFrames.from_json(some_orders, dtype_backend="pyarrow")
    call = {"by": by, "policy": POLICY, "as_of": NOW}
    assert_same(measure(arrow, **call), measure(frames, **call))


@pytest.mark.one_of(4)
@ALL
@pytest.mark.parametrize("by", [None, "warehouse_id", ["type", "channel"]])
def test_partitions_make_no_difference(frames, partitioned, measure, by):
    call = {"by": by, "policy": POLICY, "as_of": NOW}
    with dask.config.set(scheduler="threads"):
        assert_same(measure(partitioned, **call), measure(frames, **call))


@ALL
def test_judged_orders_are_taken_as_they_are(frames, measure):
    judged = tf.ship_date_compliance(frames.orders, POLICY, as_of=NOW)
    tables = SimpleNamespace(**{name: getattr(frames, name) for name in TABLES})
    tables.orders = judged
    assert_same(measure(tables), measure(frames, policy=POLICY, as_of=NOW))
    with pytest.raises(ValueError, match="judged already, by another policy"):
        measure(tables, policy=tf.SlaPolicy(target=0.8))
    tables.orders = judged.drop(columns="judged_by")
    tables.orders.attrs = {}
    with pytest.raises(ValueError, match="has lost its policy"):
        measure(tables)


@ALL
def test_groups_may_have_policies_of_their_own(frames, measure):
    policies = {"d2c": POLICY, None: tf.SlaPolicy(tz="Europe/Berlin", target=0.8)}
    call = {"as_of": NOW, "by": "type"}
    both = measure(frames, policy=policies, policy_by="type", **call)
    tables = SimpleNamespace(**{name: getattr(frames, name) for name in TABLES})
    for value, policy in (("d2c", POLICY), ("b2b", policies[None])):
        tables.orders = frames.orders[frames.orders["type"] == value]
        tables.orders.attrs = frames.orders.attrs
        single = measure(tables, policy=policy, **call)
        part = both.loc[[value]] if both.index.nlevels == 1 else both.loc[value]
        single = single if both.index.nlevels == 1 else single.loc[value]
        shared = part.index.intersection(single.index)
        assert len(shared)
        columns = [name for name in single.columns if name in part.columns]
        assert_frame_equal(part.loc[shared, columns], single.loc[shared, columns])
    with pytest.raises(TypeError, match="policy_by=None is no column"):
        measure(frames, policy=policies, as_of=NOW)


@ALL
def test_labels_rename_groups(frames, measure):
    ids = frames.orders["warehouse_id"].dropna().unique()
    labels = {key: f"Warehouse {number}" for number, key in enumerate(ids[1:])}
    call = {"by": "warehouse_id", "policy": POLICY, "as_of": NOW}
    plain, named = measure(frames, **call), measure(frames, labels=labels, **call)
    level = plain.index.get_level_values("warehouse_id")
    assert [labels.get(each, each) for each in level] == [
        *named.index.get_level_values("warehouse_id")
    ]
    assert plain.index.names == named.index.names
    assert_frame_equal(plain.reset_index(drop=True), named.reset_index(drop=True))
    assert named.attrs == plain.attrs
    with pytest.raises(ValueError, match="labels has the name"):
        measure(frames, labels=dict.fromkeys(ids, "all"), **call)
    with pytest.raises(TypeError, match="is not a map"):
        measure(frames, labels="all", **call)


@ALL
def test_no_orders_give_every_column(frames, measure):
    tables = SimpleNamespace(**{name: getattr(frames, name) for name in TABLES})
    tables.orders = frames.orders.iloc[:0]
    for by in (None, "channel"):
        call = {"by": by, "policy": POLICY, "as_of": NOW}
        none, some = measure(tables, **call), measure(frames, **call)
        assert none.columns.tolist() == some.columns.tolist()
        assert none.index.names == some.index.names
        assert none.select_dtypes("int64").sum().sum() == 0


@ALL
def test_wrong_calls_say_what_to_do(frames, measure):
    with pytest.raises(ValueError, match="by='chanel' is not allowed; did you mean 'channel'"):
        measure(frames, by="chanel", policy=POLICY, as_of=NOW)
    with pytest.raises(TypeError, match="policy is a str; pass an SlaPolicy"):
        measure(frames, policy="noon", as_of=NOW)
    with pytest.raises(ValueError, match="as_of='soon' is not a moment"):
        measure(frames, policy=POLICY, as_of="soon")
    tables = SimpleNamespace(**{name: getattr(frames, name) for name in TABLES})
    tables.orders = frames.orders.copy()
    tables.orders.attrs = {}
    with pytest.warns(UserWarning, match="orders do not say when they were fetched") as caught:
        measure(tables, policy=POLICY)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["throughput", "service_profile", "shipping_costs"])
def test_measures_of_several_tables_need_them(frames, name):
    with pytest.raises(
        TypeError, match=r"frames is a DataFrame that lacks orders, .*; pass the OrderFrames"
    ):
        MEASURES[name](frames.orders, as_of=NOW)


def test_a_scorecard_needs_a_target(frames):
    with pytest.raises(ValueError, match="has no target"):
        tf.sla_scorecard(frames.orders, as_of=NOW)


def test_what_ends_at_a_bare_day():
    orders = pd.DataFrame(
        {
            "status": "open",
            "created_date": pd.Timestamp("2026-03-01", tz="UTC"),
            "required_ship_date": pd.to_datetime(
                ["2026-03-03", "2026-03-04", "2026-03-10", "2026-02-20", None], utc=True
            ),
            **dict.fromkeys(
                ("first_shipped_date", "last_shipped_date", "complete_shipped_date"), pd.NaT
            ),
            "units_ordered": 2,
            "units_shipped": 0,
        }
    )
    table = tf.due_next(orders, as_of="2026-03-03")
    assert list(table.index) == list(DUE_BUCKETS)
    found = table.loc[table["n"] > 0, "units_left"].to_dict()
    assert found == {
        "> 7 d overdue": 2,
        "< 1 d overdue": 2,
        "24-48 h": 2,
        "later": 2,
        "unknown": 2,
    }


@pytest.mark.parametrize(
    ("overdue", "bucket"),
    [
        ("0h", "0-4 h"),
        ("1us", "< 1 d overdue"),
        ("1D", "1-3 d overdue"),
        ("3D", "3-7 d overdue"),
        ("7D", "3-7 d overdue"),
        ("7D1us", "> 7 d overdue"),
        ("-4h", "4-12 h"),
        ("-12h", "12-24 h"),
        ("-1D", "24-48 h"),
        ("-2D", "later"),
    ],
)
def test_the_ends_of_the_buckets(overdue, bucket):
    now = pd.Timestamp("2026-03-03 10:00", tz="UTC")
    orders = pd.DataFrame(
        {
            "status": ["open"],
            "created_date": now - pd.Timedelta("30D"),
            "required_ship_date": now - pd.Timedelta(overdue),
            **dict.fromkeys(
                ("first_shipped_date", "last_shipped_date", "complete_shipped_date"), pd.NaT
            ),
            "units_ordered": 2,
            "units_shipped": 0,
        }
    )
    table = tf.due_next(orders, as_of=now)
    assert table.index[table["n"] > 0].tolist() == [bucket]


def test_profiles_have_every_hour_and_day(frames):
    for freq, size in (("hour", 24), ("weekday", 7)):
        table = tf.throughput(frames, by="type", freq=freq, policy=POLICY, as_of=NOW)
        assert len(table) == size * frames.orders["type"].nunique(dropna=False)
        assert table.index.names == ["type", freq]
    assert table.loc["d2c"].index.tolist() == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def test_costs_of_two_currencies_are_never_added(frames):
    table = tf.shipping_costs(frames, as_of=NOW)
    known = frames.orders["invoice_currency_code"].unique()
    assert set(table.index) == set(known)
    assert table.index.name == "currency"


def test_a_scorecard_of_all_tables_asks_for_the_orders(frames):
    with pytest.raises(TypeError, match=r"pass the DataFrame of fetch_orders_df, such as its \.or"):
        tf.sla_scorecard(frames, policy=POLICY, by="type")
