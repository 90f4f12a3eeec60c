"""A figure of orders of which a filter left some out says so; others say nothing."""

import warnings
from datetime import UTC, datetime

import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import FilteredOrdersWarning, OrderFrames, Snapshot
from trackstar_frames.filters import FIELDS
from trackstar_frames.measures import _filters
from trackstar_frames.sandbox import Sandbox

AS_OF = "2026-03-10T12:00:00Z"
BEFORE, SINCE = "2026-03-01", "2026-03-20"
POLICY = tf.SlaPolicy(target=0.9)

ORDERS = [
    {
        "id": f"o{number}",
        "order_number": f"#{number}",
        "status": "open" if number % 3 else "fulfilled",
        "created_date": f"2026-03-0{number}T08:00:00Z",
        "updated_date": f"2026-03-0{number}T09:00:00Z",
        "required_ship_date": f"2026-03-0{number}T00:00:00Z",
        "line_items": [{"sku": "A", "quantity": 1}],
        "shipments": []
        if number % 3
        else [
            {
                "shipped_date": f"2026-03-0{number}T10:00:00Z",
                "line_items": [{"sku": "A", "quantity": 1}],
                "packages": [{"shipping_cost": 2.0}],
            }
        ],
    }
    for number in range(1, 10)
]

#: Each measure, what is open and what flows among what it counts, and whether it needs cancelled
#: and fulfilled orders.
MEASURES = {
    "compliance_rate": (lambda f: tf.compliance_rate(f.orders, as_of=AS_OF), "rate"),
    "compliance_rate by week": (
        lambda f: tf.compliance_rate(f.orders, as_of=AS_OF, freq="W"),
        "rate",
    ),
    "sla_scorecard": (lambda f: tf.sla_scorecard(f.orders, as_of=AS_OF, policy=POLICY), "rate"),
    "ship_otif": (lambda f: tf.ship_otif(f, as_of=AS_OF), "rate"),
    "fill_rates": (lambda f: tf.fill_rates(f, as_of=AS_OF), "rate"),
    "service_profile": (lambda f: tf.service_profile(f, as_of=AS_OF), "rate"),
    "cycle_time": (lambda f: tf.cycle_time(f.orders, as_of=AS_OF), "mix"),
    "cycle_time_curve": (lambda f: tf.cycle_time_curve(f.orders, as_of=AS_OF), "mix"),
    "status_mix": (lambda f: tf.status_mix(f.orders), "mix"),
    "failure_rates by week": (lambda f: tf.failure_rates(f.orders, as_of=AS_OF, freq="W"), "mix"),
    "shipping_costs": (lambda f: tf.shipping_costs(f, as_of=AS_OF), "mix"),
    "failure_rates": (lambda f: tf.failure_rates(f.orders, as_of=AS_OF), "stock and mix"),
    "throughput": (lambda f: tf.throughput(f, as_of=AS_OF), "stock and mix"),
    "shipping_costs by week": (
        lambda f: tf.shipping_costs(f, as_of=AS_OF, freq="W"),
        "stock and mix",
    ),
    "backlog": (lambda f: tf.backlog(f.orders, as_of=AS_OF), "stock and pace"),
    "late_orders": (lambda f: tf.late_orders(f.orders, as_of=AS_OF), "overdue"),
    "late_orders, shipped too": (
        lambda f: tf.late_orders(f.orders, as_of=AS_OF, shipped=True),
        "overdue and shipped",
    ),
    "due_next": (lambda f: tf.due_next(f.orders, as_of=AS_OF), "stock"),
}

RATES = {"rate", "mix", "stock and mix", "stock and pace", "overdue and shipped"}
CANCELLED = {"mix", "stock and mix"}
STOCKS = {"stock", "stock and mix", "stock and pace", "overdue", "overdue and shipped"}
NOT_OVERDUE = {"stock", "stock and mix", "stock and pace"}
EVERY = RATES | STOCKS

#: Filters, and the kinds of measures that they bias.
FILTERS = [
    ({}, set()),
    ({"status": "fulfilled"}, EVERY),
    ({"status": ["open", "picked"]}, EVERY),
    ({"status__in": ["open", "fulfilled"]}, EVERY),
    ({"status__nin": ["fulfilled", "cancelled"]}, RATES),
    ({"status__neq": "cancelled"}, CANCELLED),
    ({"status[neq]": "cancelled"}, CANCELLED),
    ({"status__neq": "open"}, EVERY),
    ({"status__not_contains": "fulfilled"}, EVERY),  # partially_fulfilled too
    ({"status__not_contains": "cancel"}, CANCELLED),
    ({"status__contains": "pe"}, EVERY),
    ({"updated_date__gte": BEFORE}, EVERY),
    ({"updated_date__lte": SINCE}, EVERY),
    ({"trackstar_updated_date__gt": BEFORE}, EVERY),
    ({"ids": ["o1", "o2"]}, EVERY),
    ({"order_number": "#1"}, EVERY),
    ({"order_number__in_insensitive": ["#1"]}, EVERY),
    ({"reference_id__in": ["r"]}, EVERY),
    ({"order_number__contains": "#"}, set()),
    ({"order_number__nin": ["#1"]}, set()),
    ({"created_date__gte": BEFORE}, STOCKS),
    ({"created_date[gt]": BEFORE}, STOCKS),
    ({"created_date": "2026-03-02"}, STOCKS),
    ({"created_date__lt": "2026-03-09"}, STOCKS),
    ({"created_date__lt": SINCE}, set()),  # after as_of
    ({"created_date__neq": "2026-03-02T00:00:00Z"}, set()),
    ({"trackstar_created_date__gte": BEFORE}, STOCKS),
    ({"required_ship_date__gte": BEFORE}, STOCKS),
    ({"required_ship_date__lte": SINCE}, NOT_OVERDUE),
    ({"type": "d2c"}, set()),
    ({"type__in": ["d2c", "b2b"], "channel": "web"}, set()),
    ({"warehouse_customer_id__in": ["c1"]}, set()),
    ({"trackstar_tags__contains": "rush"}, set()),
]
PARTS = 7


def fetched_with(filters, **info):
    frames = OrderFrames.from_json(ORDERS)
    known = {"filters": filters, "fetched_at": AS_OF, "limit": None, "complete": True, **info}
    for name in frames.to_arrow():
        getattr(frames, name).attrs["trackstar"] = dict(known)
    return frames


def biases(measure, frames):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(frames)
    assert all(each.category is FilteredOrdersWarning for each in caught), caught
    assert all(each.filename == __file__ for each in caught)
    assert len(caught) <= 1  # one message names all filters
    return "".join(str(each.message) for each in caught)


# Every day a seventh of the filters is tried with each measure: in turn, all of them.
@pytest.mark.parametrize(
    ("name", "part"),
    [
        pytest.param(name, part, marks=[] if part == number % PARTS else [pytest.mark.slow])
        for number, name in enumerate(MEASURES)
        for part in range(PARTS)
    ],
)
def test_a_filter_that_biases_a_measure_is_named_and_no_other(name, part):
    measure, kind = MEASURES[name]
    for filters, kinds in FILTERS[part::PARTS]:
        message = biases(measure, fetched_with(filters))
        assert bool(message) == (kind in kinds), (filters, message)
        if message:
            assert message.startswith(f"{name.partition(' by ')[0].partition(',')[0]} is not of")
            assert next(iter(filters)) in message


def test_every_filter_is_tried():
    tried = {_filters._field(name) for filters, _ in FILTERS for name in filters}
    assert tried == FIELDS.keys()


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"limit": 5}, "limit=5 leaves out all but the server's first 5 orders"),
        ({"complete": False}, "the fetch ended before it had all orders"),
    ],
    ids=["limit", "incomplete"],
)
def test_a_part_of_the_orders_biases_every_measure(info, words, name):
    assert words in biases(MEASURES[name][0], fetched_with({}, **info))


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", MEASURES)
def test_frames_that_were_not_fetched_bias_nothing(name):
    assert not biases(MEASURES[name][0], OrderFrames.from_json(ORDERS))


def test_the_message_says_what_is_left_out_and_what_to_fetch_instead():
    filters = {"status": "fulfilled", "created_date__gte": BEFORE, "warehouse_customer_id": "c1"}
    orders = fetched_with(filters).orders
    with pytest.warns(FilteredOrdersWarning) as caught:
        tf.late_orders(orders, as_of=AS_OF)
    assert str(caught[0].message) == (
        "late_orders is not of all the orders that count in it: status='fulfilled' leaves out "
        "orders with the status open, confirmed, processing, picked and others; "
        "created_date__gte='2026-03-01' leaves out orders created before that are still open. "
        "Fetch with status__nin=['fulfilled', 'cancelled'], warehouse_customer_id='c1' and no "
        "other filter for this figure"
    )
    with pytest.warns(FilteredOrdersWarning, match=r"Fetch with created_date__gte='2026-03-01', "):
        tf.compliance_rate(orders, as_of=AS_OF)


def test_what_the_message_says_to_fetch_is_not_biased():
    frames = fetched_with({"status__nin": ["fulfilled", "cancelled"]})
    assert not biases(MEASURES["late_orders"][0], frames)
    assert not biases(MEASURES["due_next"][0], frames)


@pytest.mark.parametrize("measure", [tf.late_orders, tf.due_next])
def test_of_an_earlier_moment_what_shipped_since_is_needed_too(measure):
    frames = fetched_with({"status__nin": ["fulfilled", "cancelled"]})
    assert "fulfilled" in biases(lambda f: measure(f.orders, as_of="2026-03-05"), frames)


MORE = pd.DataFrame({"id": [order["id"] for order in ORDERS], "region": "east"})
SEVERAL = {"web": POLICY, None: tf.SlaPolicy(ship_event="first", target=0.8)}


@pytest.mark.one_of(6)
@pytest.mark.parametrize(
    "measure",
    [
        "compliance_rate",
        "late_orders",
        "due_next",
        "sla_scorecard",
        "failure_rates",
        "status_mix",
        "backlog",
    ],
)
@pytest.mark.parametrize(
    "policy", [{"policy": POLICY}, {"policy": SEVERAL, "policy_by": "channel"}]
)
@pytest.mark.parametrize("info", [{}, {"limit": 5}])
def test_a_judged_frame_keeps_its_filters_where_attrs_are_lost(measure, policy, info):
    frames = fetched_with({"status": "fulfilled"}, **info)
    merged = MORE.merge(tf.ship_date_compliance(frames.orders, as_of=AS_OF, **policy))
    assert not merged.attrs
    message = biases(getattr(tf, measure), merged)
    assert message.startswith(f"{measure} is not of all")
    assert "status='fulfilled'" in message
    assert ("limit=5" in message) == bool(info)
    judged = tf.ship_date_compliance(fetched_with({}).orders, as_of=AS_OF, **policy)
    assert not biases(getattr(tf, measure), MORE.merge(judged))


def test_a_long_list_of_ids_does_not_make_each_row_long():
    orders = fetched_with({"ids": [f"o{number}" for number in range(20_000)]}).orders
    judged = tf.ship_date_compliance(orders, as_of=AS_OF)
    assert len(judged["judged_by"][0]) < 500
    assert "ids=['o0', 'o1'" in biases(tf.compliance_rate, MORE.merge(judged))


@pytest.mark.parametrize("filters", [{"status": "*"}, {"created_date__gte": "*"}, {"odd": 1}])
def test_values_that_were_not_kept_are_no_error(filters):
    biases(MEASURES["backlog"][0], fetched_with(filters))


def test_frames_are_compared_by_their_own_filters():
    old, new = fetched_with({}).orders, fetched_with({"status": "open"}).orders
    with pytest.warns(FilteredOrdersWarning, match=r"status_transitions .* status='open'"):
        tf.status_transitions(old, new)
    due = fetched_with({"required_ship_date__lt": SINCE}).orders
    with pytest.warns(FilteredOrdersWarning, match="due_date_changes .* moved across it"):
        tf.due_date_changes(due, due)


@pytest.mark.parametrize("backend", ["pyarrow", None])
def test_the_filters_of_a_fetch_reach_the_measures(shared_sandbox, tmp_path, backend):
    kinds = {} if backend is None else {"dtype_backend": backend}
    client = shared_sandbox.client()
    frames = tf.fetch_orders(client=client, status="open", snapshot=tmp_path, **kinds)
    for orders in (frames.orders, tf.read_snapshot(tmp_path, **kinds).orders):
        with pytest.warns(FilteredOrdersWarning, match="status='open'"):
            tf.compliance_rate(orders)
        judged = tf.ship_date_compliance(orders)
        part = judged[judged["warehouse_id"].notna()]
        with pytest.warns(FilteredOrdersWarning, match="status='open'"):
            tf.compliance_rate(part, by="warehouse_id")


def test_partitions_say_it_too(shared_sandbox, tmp_path):
    frames = tf.fetch_orders(client=shared_sandbox.client(), status="open")
    snapshot = tf.write_snapshot(frames, tmp_path)
    assert isinstance(snapshot, Snapshot)
    lazy = tf.read_snapshot_dask(tmp_path)
    with pytest.warns(FilteredOrdersWarning, match="status='open'"):
        tf.backlog(lazy.orders, as_of=pd.Timestamp(frames.info["fetched_at"]))


def test_a_page_with_a_backlog_of_recent_orders_of_some_statuses_warns():
    now = datetime(2026, 3, 2, 6, tzinfo=UTC)
    filters = {"created_date__gte": "2025-10-01", "status__neq": "other"}
    with Sandbox(orders=300, now=now, rate_limit=None) as sandbox:
        client = sandbox.client(cache=False)
        biased, whole = (tf.fetch_orders_df(client=client, **each) for each in (filters, {}))
    with pytest.warns(FilteredOrdersWarning) as caught:
        tf.plot_overview(biased)
    messages = [str(each.message) for each in caught]
    assert all(each.filename == __file__ for each in caught)
    backlog = next(each for each in messages if each.startswith("backlog"))
    assert "created_date__gte='2025-10-01' leaves out orders created before" in backlog
    assert all("status__neq='other' leaves out orders with the status other" in m for m in messages)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tf.plot_overview(whole)


def test_durations_of_judged_orders_know_their_filters_after_a_merge():
    judged = tf.ship_date_compliance(fetched_with({"status": "fulfilled"}).orders, as_of=AS_OF)
    joined = judged.merge(pd.DataFrame({"id": ["o3"], "site": ["Reno"]}), how="left", on="id")
    joined.attrs = {}
    for measure in (tf.cycle_time, tf.cycle_time_curve):
        with pytest.warns(FilteredOrdersWarning, match="status='fulfilled'"):
            measure(joined)
