"""Measures of Dask frames: the figures of pandas, without collecting the orders."""

import pickle
from itertools import pairwise
from operator import attrgetter
from types import SimpleNamespace

import dask
import dask.bag
import dask.dataframe as dd
import dask.threaded
import pandas as pd
import pyarrow.compute as pc
import pytest
from helpers.marks import sample
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.info import join_infos
from trackstar_frames.measures._partitions import concat_parts
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import LIFECYCLE
from trackstar_frames.tables.assemble import concat

TABLES = ["orders", "line_items", "shipments", "shipment_line_items", "package_line_items"]
BY = [None, "channel", "status", "saturday_delivery", "total_price", ["type", "units_ordered"]]
FREQ = [None, "W"]
POLICY = tf.SlaPolicy(tz={None: "America/New_York"}, grace="1h")

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's, of pandas


@pytest.fixture(autouse=True)
def _threads():
    with dask.config.set(scheduler="threads"):
        yield


@pytest.fixture(scope="module")
def whole(spoilt):
    return spoilt(1).frames


@pytest.fixture(scope="module")
def as_of(spoilt):
    return spoilt(1).now


def cut(frames, ends):
    """Yield the tables in pieces that end after so many orders, each as if read alone."""
    tables = frames.to_arrow()
    orders = tables["orders"]
    bounds = [0, *ends, len(orders)]
    for start, end in pairwise(bounds):
        piece = orders[start:end]
        mine = {
            name: table.filter(pc.is_in(table["order_id"], value_set=piece["id"]))
            for name, table in tables.items()
            if name != "orders"
        }
        yield OrderFrames({"orders": piece, **mine}, frames.info)


def to_dask(pieces):
    """Return pieces as Dask frames, with a partition for each, the same in all tables."""
    pieces = list(pieces)
    return SimpleNamespace(
        **{
            name: dd.from_map(
                lambda number, name=name: getattr(pieces[number], name),
                range(len(pieces)),
                meta=getattr(pieces[0], name).iloc[:0],
            )
            for name in TABLES
        }
    )


@pytest.fixture(scope="module")
def partitioned(whole):
    """Seven partitions; some have statuses that others do not, the third and last are empty."""
    frames = to_dask(cut(whole, [1, 90, 90, 200, 333, len(whole.orders)]))
    kinds = [part["status"].dtype for part in dask.compute(*frames.orders.to_delayed())]
    assert len({tuple(kind.categories) for kind in kinds}) > 1
    return frames


def assert_same(found, expected):
    assert_frame_equal(found, expected)
    assert found.attrs == expected.attrs


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("by", "freq"), sample([(by, freq) for by in BY for freq in FREQ], 3))
def test_status_mix(whole, partitioned, by, freq):
    assert_same(
        tf.status_mix(partitioned.orders, by=by, freq=freq),
        tf.status_mix(whole.orders, by=by, freq=freq),
    )
    shares = [
        tf.status_mix(each.orders, by=by, freq=freq, normalize=True)
        for each in (partitioned, whole)
    ]
    assert_same(*shares)


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    ("by", "freq"), sample([(by, freq) for by in [*BY, "outcome", "reason"] for freq in FREQ], 3)
)
def test_compliance_rate(whole, partitioned, as_of, by, freq):
    judged = [
        tf.ship_date_compliance(each.orders, POLICY, as_of=as_of) for each in (partitioned, whole)
    ]
    found, expected = (tf.compliance_rate(each, by=by, freq=freq) for each in judged)
    assert_same(found, expected)
    at_once = tf.compliance_rate(partitioned.orders, by=by, freq=freq, policy=POLICY, as_of=as_of)
    assert_same(at_once, expected)


@pytest.mark.one_of(4)
@pytest.mark.parametrize("by", [each for each in BY if each != "status"])
def test_backlog(whole, partitioned, as_of, by):
    for moment in (as_of, whole.orders["created_date"].median()):
        found, expected = (
            tf.backlog(each.orders, by=by, as_of=moment) for each in (partitioned, whole)
        )
        assert_same(found, expected)
        assert found.index.equals(expected.index)


@pytest.mark.one_of(6)
@pytest.mark.parametrize("by", sample(BY, 3))
@pytest.mark.parametrize("past", [False, True])
def test_fill_rates_and_otif(whole, partitioned, as_of, by, past):
    moment = whole.orders["created_date"].median() if past else as_of
    for of in ({}, {"of": "shipped"}, {"of": "due", "policy": POLICY}):
        given = {"by": by, "as_of": moment, **of}
        assert_same(*(tf.fill_rates(each, **given) for each in (partitioned, whole)))
        given |= {"freq": "W", "policy": POLICY}
        assert_same(*(tf.fill_rates(each, **given) for each in (partitioned, whole)))
    given = {"by": by, "as_of": moment, "policy": POLICY}
    for freq in (None, "W"):
        assert_same(*(tf.ship_otif(each, freq=freq, **given) for each in (partitioned, whole)))


@pytest.mark.parametrize("policy", [POLICY, tf.SlaPolicy.d2c_noon_cut_off(holidays=())])
def test_orders_are_judged_partition_by_partition(whole, partitioned, as_of, policy):
    expected = tf.ship_date_compliance(whole.orders, policy, as_of=as_of)
    lazy = tf.ship_date_compliance(partitioned.orders, policy, as_of=as_of)
    assert lazy.npartitions == partitioned.orders.npartitions
    assert lazy.columns.tolist() == expected.columns.tolist()
    new = expected.columns.difference(whole.orders.columns)
    assert (lazy.dtypes[new] == expected.dtypes[new]).all()
    # Not the status: Dask does not join ordered categoricals of different categories.
    found = lazy[["id", *new]].compute()
    assert found.attrs == expected.attrs
    assert_frame_equal(found[new].reset_index(drop=True), expected[new])
    assert found["id"].tolist() == expected["id"].tolist()


# Each example builds and computes three graphs.
@settings(max_examples=settings().max_examples // 5)
@given(data=st.data())
def test_wherever_the_orders_are_cut_the_figures_are_the_same(whole, as_of, data):
    count = len(whole.orders)
    ends = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    frames = to_dask(cut(whole, ends))
    by, freq = data.draw(st.sampled_from(BY)), data.draw(st.sampled_from(["D", "W-SAT", "QS"]))
    assert_same(
        tf.status_mix(frames.orders, by=by, freq=freq),
        tf.status_mix(whole.orders, by=by, freq=freq),
    )
    assert_same(*(tf.fill_rates(each, by=by, as_of=as_of) for each in (frames, whole)))
    by = data.draw(st.sampled_from(["channel", ["warehouse_id", "type"]]))
    assert_same(*(tf.backlog(each.orders, by=by, as_of=as_of) for each in (frames, whole)))


@pytest.mark.slow
def test_frames_without_orders(whole, as_of):
    none = next(cut(whole, [0]))
    empty = to_dask([none] * 3)
    for by in BY:
        assert_same(
            tf.status_mix(empty.orders, by=by, freq="W"),
            tf.status_mix(none.orders, by=by, freq="W"),
        )
        assert_same(*(tf.fill_rates(each, by=by, as_of=as_of) for each in (empty, none)))
        found, expected = (
            tf.compliance_rate(each.orders, by=by, freq="D", policy=POLICY, as_of=as_of)
            for each in (empty, none)
        )
        assert_same(found, expected)
    assert_same(*(tf.backlog(each.orders, by="type", as_of=as_of) for each in (empty, none)))
    assert_same(*(tf.backlog(each.orders, as_of=as_of) for each in (empty, none)))


@pytest.mark.slow
@pytest.mark.parametrize("convert", [True, False])
def test_frames_that_dask_cut_itself(whole, as_of, convert):
    with dask.config.set({"dataframe.convert-string": convert}):
        orders = dd.from_pandas(whole.orders, npartitions=5, sort=False)
    for by in ("warehouse_id", ["channel", "type"]):
        assert_same(
            tf.status_mix(orders, by=by, freq="MS"), tf.status_mix(whole.orders, by=by, freq="MS")
        )
        assert_same(*(tf.backlog(each, by=by, as_of=as_of) for each in (orders, whole.orders)))
        found, expected = (
            tf.compliance_rate(each, by=by, policy=POLICY, as_of=as_of)
            for each in (orders, whole.orders)
        )
        assert_same(found, expected)


def test_snapshots_that_dask_reads_itself(whole, as_of, tmp_path):
    written = tf.write_snapshot(whole, tmp_path)
    read = SimpleNamespace(**{name: dd.read_parquet(written.path / name) for name in TABLES})
    assert_frame_equal(*(tf.status_mix(each.orders, by="channel") for each in (read, whole)))
    assert_frame_equal(*(tf.fill_rates(each, by="channel", as_of=as_of) for each in (read, whole)))


def test_the_default_moment_of_pandas_is_the_fetch_and_dask_has_none(whole, partitioned):
    judged = tf.ship_date_compliance(whole.orders)
    assert judged.attrs["trackstar"]["compliance"]["as_of"]
    calls = [
        lambda: tf.ship_date_compliance(partitioned.orders),
        lambda: tf.compliance_rate(partitioned.orders, policy=POLICY),
        lambda: tf.backlog(partitioned.orders),
        lambda: tf.fill_rates(partitioned),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="as_of has no default here, as a Dask frame"):
            call()


def never(*_, **__):
    raise AssertionError("something was computed")


def test_judging_computes_nothing(partitioned, as_of):
    with dask.config.set(scheduler=never):
        judged = tf.ship_date_compliance(partitioned.orders, POLICY, as_of=as_of)
        assert "outcome" in judged.columns
        with pytest.raises(AssertionError, match="something was computed"):
            judged.compute()


@pytest.mark.parametrize(
    ("measure", "read"),
    [
        (lambda frames, _: tf.status_mix(frames.orders, by="channel", freq="W"), ["orders"]),
        (
            lambda frames, as_of: tf.compliance_rate(frames.orders, policy=POLICY, as_of=as_of),
            ["orders"],
        ),
        (lambda frames, as_of: tf.backlog(frames.orders, by="channel", as_of=as_of), ["orders"]),
        (lambda frames, as_of: tf.fill_rates(frames, as_of=as_of), TABLES),
    ],
)
def test_no_orders_are_collected(whole, partitioned, as_of, measure, read):
    results = []

    def watched(graph, keys, **options):
        results.append(dask.threaded.get(graph, keys, **options))
        return results[-1]

    with dask.config.set(scheduler=watched):
        measure(partitioned, as_of)
    (made,) = brought = list(frames_in(results))
    assert (list(made.columns), len(made)) == (["result"], partitioned.orders.npartitions)
    size = sum(len(pickle.dumps(getattr(whole, name))) for name in read)
    assert len(pickle.dumps(brought)) < size / 10
    for each in frames_in(made["result"].tolist()):
        assert not {"id", "order_number", "ship_to_address_city"} & set(each.columns)


def frames_in(things):
    if isinstance(things, pd.DataFrame):
        yield things
    elif isinstance(things, list | tuple):
        for thing in things:
            yield from frames_in(thing)


@pytest.mark.parametrize(
    "measure",
    [
        lambda frames: tf.cycle_time(frames.orders),
        lambda frames: tf.cycle_time_curve(frames.orders),
        lambda frames: tf.late_orders(frames.orders),
        lambda frames: tf.data_quality(frames.orders),
        tf.data_quality,
        lambda frames: tf.status_transitions(frames.orders, frames.orders),
        lambda frames: tf.plot_status_mix(frames.orders),
        lambda frames: tf.plot_backlog(frames.orders, as_of="2026-03-04"),
        lambda frames: tf.plot_cycle_time(frames.orders),
        lambda frames: tf.plot_lateness(frames.orders, policy=POLICY),
        lambda frames: tf.plot_ship_date_compliance(frames.orders),
        lambda frames: tf.plot_compliance_heatmap(frames.orders),
        lambda frames: tf.plot_overview(frames.orders),
    ],
)
def test_what_needs_all_rows_says_how_to_have_them(partitioned, measure):
    with pytest.raises(TypeError, match=r"is a Dask frame, .* \.compute\(\)"):
        measure(partitioned)


@pytest.mark.parametrize("take", [attrgetter("id"), lambda _: dask.bag.from_sequence([1])])
def test_other_things_of_dask_are_no_frames(partitioned, take):
    with pytest.raises(TypeError, match="pass the DataFrame of fetch_orders_df"):
        tf.status_mix(take(partitioned.orders))


def test_columns_are_missed_before_any_work(partitioned, as_of):
    with dask.config.set(scheduler=never):
        with pytest.raises(ValueError, match="orders lacks 'status'"):
            tf.status_mix(partitioned.orders[["id"]])
        with pytest.raises(ValueError, match=r"frames\.line_items lacks .* 'sku'"):
            tf.fill_rates(changed(partitioned, line_items=partitioned.line_items[["order_id"]]))
        with pytest.raises(ValueError, match="by='chanel' is not allowed; did you mean 'channel'"):
            tf.backlog(partitioned.orders, by="chanel", as_of=as_of)


def changed(frames, **tables):
    return SimpleNamespace(**{name: getattr(frames, name) for name in TABLES} | tables)


def test_tables_of_dask_and_pandas_do_not_mix(whole, partitioned, as_of):
    with pytest.raises(TypeError, match=r"line_items is a Dask frame, and frames\.orders is"):
        tf.fill_rates(changed(partitioned, orders=whole.orders), as_of=as_of)


def test_tables_need_the_same_partitions(partitioned, as_of):
    fewer = changed(partitioned, shipments=partitioned.shipments.partitions[:3])
    with pytest.raises(ValueError, match=r"different numbers of partitions, .*shipments': 3"):
        tf.fill_rates(fewer, as_of=as_of)


def test_an_order_twice_in_a_partition_is_an_error(partitioned, as_of):
    twice = partitioned.orders.map_partitions(
        lambda part: pd.concat([part, part]), meta=partitioned.orders
    )
    with pytest.raises(ValueError, match="more than one row of the order"):
        tf.fill_rates(changed(partitioned, orders=twice), as_of=as_of)


def test_errors_in_values_are_raised_when_dask_computes_them(partitioned, as_of):
    lazy = tf.ship_date_compliance(partitioned.orders, tz={"nowhere": "UTC"}, as_of=as_of)
    with pytest.raises(ValueError, match="tz has no zone for"):
        lazy.compute()
    odd = partitioned.orders.assign(outcome="odd", is_due=True, due_at=pd.NaT)
    with pytest.raises(ValueError, match="outcome='odd' is not allowed"):
        tf.compliance_rate(odd)


def test_partitions_must_have_been_judged_by_one_policy(partitioned, as_of):
    two = [
        tf.ship_date_compliance(partitioned.orders, tz=tz, as_of=as_of)
        for tz in ("UTC", "Asia/Tokyo")
    ]
    with pytest.raises(ValueError, match="judged by different policies"):
        tf.compliance_rate(dd.concat(two))
    with pytest.raises(ValueError, match="judged already, by another policy"):
        tf.compliance_rate(two[0], policy=POLICY, as_of=as_of)
    with pytest.raises(TypeError, match="policy is a str; pass an SlaPolicy"):
        tf.compliance_rate(two[0], policy="noon")
    assert_same(
        tf.compliance_rate(two[1], policy=tf.SlaPolicy(tz="Asia/Tokyo"), as_of=as_of),
        tf.compliance_rate(two[1]),
    )


def test_a_lost_policy_is_missed(whole, partitioned, as_of):
    def forget(part):
        part = part.drop(columns="judged_by")
        part.attrs = {}
        return part

    judged = tf.ship_date_compliance(partitioned.orders, POLICY, as_of=as_of)
    with pytest.warns(UserWarning, match="compliance has lost its policy") as caught:
        found = tf.compliance_rate(judged.map_partitions(forget), freq="W")
    assert caught[0].filename == __file__
    again = forget(tf.ship_date_compliance(whole.orders, POLICY, as_of=as_of))
    with pytest.warns(UserWarning, match="compliance has lost its policy"):
        assert_same(found, tf.compliance_rate(again, freq="W"))


@pytest.mark.slow
def test_orders_of_two_connections(as_of):
    parts = {}
    for seed, label in enumerate(("acme", "beta"), 1):
        with Sandbox(orders=60, seed=seed, rate_limit=None, now=as_of) as sandbox:
            orders = [{**each, "id": f"o{number}"} for number, each in enumerate(sandbox.orders)]
        parts[label] = OrderFrames.from_json(orders)
    both = OrderFrames(
        concat({label: each.to_arrow() for label, each in parts.items()}),
        join_infos({label: each.info for label, each in parts.items()}),
    )
    pieces = [
        OrderFrames(concat({label: piece.to_arrow()}), both.info)
        for label, each in parts.items()
        for piece in cut(each, [25])
    ]
    frames = to_dask(pieces)
    for by in ("connection", ["connection", "channel"], None):
        assert_same(*(tf.fill_rates(each, by=by, as_of=as_of) for each in (frames, both)))
        assert_same(tf.status_mix(frames.orders, by=by), tf.status_mix(both.orders, by=by))


def test_categories_stand_as_one_frame_would_have_them():
    def column(values, categories, *, ordered=True):
        return pd.DataFrame({"x": pd.Categorical(values, categories, ordered=ordered)})

    statuses = [column(["open", new], [*LIFECYCLE, new]) for new in ("zz", "aa", "mm")]
    categories = concat_parts(statuses)["x"].dtype.categories.tolist()
    assert categories == [*LIFECYCLE, "aa", "mm", "zz"]
    unordered = [column([end], [end, "a"], ordered=False) for end in "bc"]
    own = concat_parts(unordered)["x"]
    assert (own.tolist(), own.dtype.categories.tolist()) == (["b", "c"], ["b", "a", "c"])
    assert not own.dtype.ordered
    # A frame without rows adds no categories.
    some = concat_parts([column(["a"], ["a"]), column([], ["z"])])["x"]
    assert some.dtype.categories.tolist() == ["a"]
