import datetime as dt
import json
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers import marked_orders

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.measures.data_quality import CHECKS
from trackstar_frames.schema import TABLES

NOON = "2026-03-11T12:00:00+00:00"
NAMES = [name for checks in CHECKS.values() for name in checks]
COLUMNS = ["n", "of", "share", "table", "detail", "examples", "meaning"]

LINE = {"product_id": "p", "sku": "A", "quantity": 2}
SENT = {"inventory_item_id": "i", "sku": "A", "quantity": 2, "parent_product_id": None}
SHIPMENT = {
    "status": "shipped",
    "warehouse_id": "east",
    "shipped_date": "2026-03-02T12:00:00Z",
    "line_items": [SENT],
}
SOUND = {
    "created_date": "2026-03-01T12:00:00Z",
    "updated_date": "2026-03-02T12:00:00Z",
    "required_ship_date": "2026-03-03T17:00:00Z",
    "status": "fulfilled",
    "raw_status": "SHIPPED",
    "order_number": "7",
    "warehouse_id": "east",
    "warehouse_customer_id": "c",
    "channel": "web",
    "line_items": [LINE],
    "shipments": [SHIPMENT],
}


def frames_of(*changes, fetched_at=NOON, backend=None):
    """Build frames of sound orders but for some changes; ids are a0, a1 and so on."""
    named = {"order_number": "{}", "id": "a{}"}
    orders = [
        SOUND | {key: text.format(number) for key, text in named.items()} | change
        for number, change in enumerate(changes)
    ]
    made = OrderFrames.from_json(orders)
    info = made.info | {"fetched_at": fetched_at, "connection": "acme"}
    return OrderFrames(made.to_arrow(), info, dtype_backend=backend)


def sent(**changes):
    return {"shipments": [SHIPMENT | changes]}


def sent_line(**changes):
    return sent(line_items=[SENT | changes])


#: Each change, and all checks that find it.
CASES = [
    ({}, []),
    ({"created_date": None}, ["no_created_date"]),
    (
        {"created_date": "2026-03-11T12:00:01Z"},
        ["after_as_of", "due_before_created", "shipped_before_created"],
    ),
    ({"updated_date": "2026-03-11T12:00:01Z"}, ["after_as_of"]),
    ({"updated_date": "2026-03-11T12:00:00Z"}, []),
    ({"trackstar_created_date": "2026-04-01"}, ["after_as_of"]),
    ({"trackstar_updated_date": "2026-04-01"}, ["after_as_of"]),
    (sent(shipped_date="2026-04-01T00:00:00Z"), ["after_as_of"]),
    ({"required_ship_date": "2026-04-01T17:00:00Z"}, []),
    ({"required_ship_date": None}, ["no_due_date"]),
    ({"required_ship_date": ""}, ["no_due_date"]),
    ({"required_ship_date": None, "status": "cancelled", "shipments": []}, []),
    ({"required_ship_date": "2026-03-02T00:00:00Z"}, ["due_at_midnight"]),
    ({"required_ship_date": "2026-03-02T00:00:00Z", "status": "cancelled", "shipments": []}, []),
    ({"required_ship_date": "2026-03-01T00:00:00Z"}, ["due_at_midnight"]),
    ({"required_ship_date": "2026-02-28T00:00:00Z"}, ["due_at_midnight", "due_before_created"]),
    ({"required_ship_date": "2026-03-01T11:59:59Z"}, ["due_before_created"]),
    ({"required_ship_date": "2026-03-01T12:00:00Z"}, []),
    (sent(shipped_date="2026-03-01T11:59:59Z"), ["shipped_before_created"]),
    (sent(shipped_date="2026-03-01T12:00:00Z"), []),
    ({"shipments": []}, ["fulfilled_without_shipment"]),
    ({"shipments": [], "status": "packed"}, []),
    (sent(shipped_date=None), ["fulfilled_without_ship_date", "shipped_without_date"]),
    (sent(status="cancelled"), ["fulfilled_without_ship_date"]),
    (sent_line(quantity=1), ["fulfilled_short"]),
    (sent_line(quantity=1) | {"status": "partially_fulfilled"}, []),
    ({"status": "other"}, ["status_other"]),
    ({"status": "customs"}, ["status_unknown"]),
    ({"status": None}, ["no_status"]),
    ({"warehouse_id": None}, ["no_warehouse"]),
    ({"warehouse_id": ""}, ["no_warehouse"]),
    ({"warehouse_customer_id": ""}, ["no_customer"]),
    ({"line_items": []}, ["overshipped", "no_lines", "shipped_line_not_ordered"]),
    ({"required_ship_date": "2026-03-03T05:00:00Z"}, ["due_at_local_midnight"]),
    ({"required_ship_date": "2026-03-03T05:00:01Z"}, []),
    ({"required_ship_date": "2026-03-03T05:00:00Z", "status": "cancelled", "shipments": []}, []),
    ({"status": "packed"}, ["complete_but_open"]),
    (sent_line(quantity=3), ["overshipped"]),
    (
        sent_line(quantity=3) | {"status": "open"},
        ["complete_but_open", "overshipped", "overshipped_but_open"],
    ),
    (
        {"line_items": [LINE, LINE | {"sku": "B"}], "status": "open"} | sent_line(quantity=3),
        ["overshipped", "overshipped_but_open"],
    ),
    ({"status": "cancelled"}, ["cancelled_but_shipped"]),
    ({"status": "cancelled", **sent(status="cancelled")}, []),
    (sent(status="open"), ["open_with_date"]),
    (
        {"shipments": [SHIPMENT, SHIPMENT | {"shipped_date": None, "line_items": []}]},
        ["shipped_without_date"],
    ),
    ({"line_items": [LINE, LINE | {"quantity": 1.5}]}, ["value_not_kept", "line_without_quantity"]),
    (sent(warehouse_id="west"), ["shipped_elsewhere"]),
    (sent(warehouse_id=None), []),
    (sent(warehouse_id="west", status="cancelled"), ["fulfilled_without_ship_date"]),
    ({"trackstar_created_date": "0001-01-01T00:00:00Z"}, ["placeholder_date"]),
    (
        sent(shipped_date="1900-01-01"),
        ["fulfilled_without_ship_date", "placeholder_date", "shipped_without_date"],
    ),
    (sent(packages=[{"line_items": [{"expiration_date": "0000-00-00"}]}]), ["placeholder_date"]),
    ({"trackstar_created_date": "2026-03-01T12:00:00"}, ["date_without_zone"]),
    (sent(shipped_date="2026-03-02 12:00"), ["date_without_zone"]),
    ({"trackstar_created_date": "2026-03-01"}, []),
    ({"total_price": "n/a"}, ["value_not_kept"]),
    ({"priority": 1}, ["unknown_key"]),
    ({"line_items": [LINE, LINE | {"sku": ""}]}, ["fulfilled_short", "line_without_sku"]),
    ({"line_items": [LINE, LINE | {"quantity": 0}]}, ["line_of_no_units"]),
    ({"line_items": [LINE, LINE | {"quantity": None}]}, ["line_without_quantity"]),
    ({"line_items": [LINE, LINE | {"quantity": -1}]}, ["overshipped", "line_of_no_units"]),
    ({"shipments": [SHIPMENT, {"line_items": [SENT | {"sku": ""}]}]}, ["shipped_line_without_sku"]),
    (
        {"shipments": [SHIPMENT, sent_line(sku="B")["shipments"][0]]},
        ["overshipped", "shipped_line_not_ordered"],
    ),
    (sent_line(sku="B", parent_product_id="p"), []),
    (
        sent_line(sku="B", parent_product_id="q"),
        ["fulfilled_short", "overshipped", "shipped_line_not_ordered"],
    ),
    (
        {"shipments": [SHIPMENT, {"line_items": [SENT | {"quantity": None}]}]},
        ["shipped_line_without_quantity"],
    ),
    (sent(packages=[{"line_items": [SENT | {"sku": "Z"}]}]), []),  # its own lines count
    (sent(line_items=[], packages=[{"line_items": [SENT]}]), ["contents_in_packages"]),
    (
        sent(line_items=[], packages=[{"line_items": [SENT, SENT | {"sku": ""}]}]),
        ["overshipped", "contents_in_packages", "shipped_line_without_sku"],
    ),
]


@pytest.mark.one_of(3)
@pytest.mark.parametrize(("change", "checks"), CASES)
def test_each_thing_is_found_and_nothing_else(change, checks):
    report = tf.data_quality(frames_of(change))
    assert report.index[report["n"] > 0].tolist() == checks
    assert report.loc[checks, "n"].tolist() == [1] * len(checks)
    assert report["examples"].tolist() == [["a0"] if name in checks else [] for name in NAMES]


def test_every_check_has_its_case():
    assert {name for _, checks in CASES for name in checks} | {"order_number_twice"} == set(NAMES)


def test_a_number_is_twice_only_within_a_customer():
    orders = [
        *({"order_number": number} for number in ("1", "1", "2", "", "", None, None)),
        {"order_number": "2", "warehouse_customer_id": "d"},
        *({"order_number": "3", "warehouse_customer_id": None} for _ in range(2)),
    ]
    row = tf.data_quality(frames_of(*orders), examples=9).loc["order_number_twice"]
    assert (row["n"], row["of"]) == (4, 6)
    assert row["examples"] == ["a0", "a1", "a8", "a9"]


def test_a_bare_day_ends_where_the_warehouse_is():
    late = {"created_date": "2026-03-02T03:00:00Z", "required_ship_date": "2026-03-01T00:00:00Z"}
    frames = frames_of(late, late | {"warehouse_id": "west"}, late | {"warehouse_id": None})
    found = [
        tf.data_quality(frames, tz=tz).loc["due_before_created", "examples"]
        for tz in ("UTC", "America/New_York", {"west": "America/New_York", None: "Asia/Tokyo"})
    ]
    assert found == [["a0", "a1", "a2"], [], ["a0", "a2"]]


def test_orders_alone_have_no_checks_of_lines():
    frames = frames_of({"status": "other"}, sent(warehouse_id="west"))
    whole, single = tf.data_quality(frames), tf.data_quality(frames.orders)
    blind = ["shipped_elsewhere", "value_not_kept", "unknown_key", *NAMES[-9:]]
    assert single.attrs["trackstar"]["data_quality"]["not_looked_for"] == blind
    assert single.loc[blind, ["n", "of", "share", "detail"]].isna().all(axis=None)
    assert single.loc[blind, "examples"].tolist() == [[]] * len(blind)
    pd.testing.assert_frame_equal(
        single.drop(index=blind), whole.drop(index=blind), check_index_type=False
    )
    assert whole.attrs["trackstar"]["data_quality"]["not_looked_for"] == []
    assert (single.dtypes == whole.dtypes).all()


def test_frames_without_problems_and_rows_of_orders_do():
    frames = frames_of({"priority": 1}, {"line_items": []})
    names = ("line_items", "shipments", "shipment_line_items", "package_line_items")
    tables = {name: getattr(frames, name) for name in names}
    report = tf.data_quality(SimpleNamespace(orders=frames.orders[:1], **tables))
    info = report.attrs["trackstar"]["data_quality"]
    assert info["not_looked_for"] == ["value_not_kept", "unknown_key"]
    assert info["orders_without_id"] is None
    assert report.loc["line_without_sku", "of"] == 1
    assert report["n"].sum() == 0


@pytest.mark.parametrize("kind", ["numpy_nullable", "pyarrow"])
def test_types_that_pandas_reads_from_files_do(kind, some_orders):
    frames = OrderFrames.from_json([*some_orders[:150], SOUND | {"id": "u", "status": "zz"}])
    read = {name: getattr(frames, name).convert_dtypes(dtype_backend=kind) for name in TABLES}
    expected = tf.data_quality(frames, as_of=NOON)
    report = tf.data_quality(SimpleNamespace(**read), as_of=NOON)
    pd.testing.assert_frame_equal(report, expected)
    assert report.loc["shipped_elsewhere", "n"] > 0


def test_orders_without_an_id_are_reported():
    report = tf.data_quality(
        OrderFrames.from_json([{"order_number": "#1"}, {"id": "a"}]), as_of=NOON
    )
    assert report.attrs["trackstar"]["data_quality"]["orders_without_id"] == 1
    assert report.loc["value_not_kept", "n"] == 0


def test_members_of_a_body_are_not_counted_as_orders_without_an_id():
    body = {
        "data": [{"id": "a"}, {"status": "open"}],
        "next_token": "more",
        "errors": ["timed out"],
    }
    report = tf.data_quality(OrderFrames.from_json(body), as_of=NOON)
    assert report.attrs["trackstar"]["data_quality"]["orders_without_id"] == 1


@pytest.mark.parametrize("backend", [None, "pyarrow"])
def test_dates_that_are_kept_in_extra_are_counted_by_order_and_reported_by_path(backend, tmp_path):
    shipments = [
        SHIPMENT | {"shipped_date": each} for each in ("0001-01-01", "2026-03-02T12:00:00")
    ]
    odd = {"updated_date": "2026-03-02 12:00:00", "zz": {"created_date": "x"}}
    frames = frames_of(odd | {"shipments": shipments}, {}, backend=backend)
    frames.to_parquet(tmp_path / "frames")
    for whole in (frames, OrderFrames.from_parquet(tmp_path / "frames", dtype_backend=backend)):
        report = tf.data_quality(whole).loc[["placeholder_date", "date_without_zone"]]
        assert report["n"].tolist() == [1, 1]
        assert report["of"].tolist() == [2, 2]
        assert report["detail"].tolist() == [
            "shipments[].shipped_date (1)",
            "shipments[].shipped_date (1), updated_date (1)",
        ]
    single = tf.data_quality(frames.orders).loc[["placeholder_date", "date_without_zone"]]
    assert single["n"].tolist() == [0, 1]


def test_dates_in_extra_are_not_looked_for_where_it_is_hidden_or_not_there():
    order = SOUND | {"id": "a", "updated_date": "2026-03-02 12:00:00"}
    hidden = OrderFrames.from_json(order, pii="drop")
    for given in (hidden, hidden.orders, OrderFrames.from_json(order).orders.drop(columns="extra")):
        report = tf.data_quality(given, as_of=NOON)
        assert report.loc[["placeholder_date", "date_without_zone"], "n"].isna().all()


def test_details_are_the_most_frequent_words_first():
    raw = ["b", "b", "a", "a", "", None, *"cdefghij", "b"]
    report = tf.data_quality(frames_of(*({"status": "other", "raw_status": each} for each in raw)))
    assert report.loc["status_other", "detail"] == (
        "b (3), (none) (2), a (2), c (1), d (1), e (1), f (1), g (1), h (1), i (1), 1 more"
    )
    lines = [LINE | {"zz": 1}, LINE | {"zz": 2, "quantity": "many"}]
    report = tf.data_quality(frames_of({"line_items": lines}, {"line_items": lines[:1]}))
    assert report.loc["unknown_key", ["n", "detail"]].tolist() == [2, "line_items[].zz (3)"]
    assert report.loc["value_not_kept", "detail"] == "line_items[].quantity (1)"


def test_groups_have_every_check_and_null_is_one():
    frames = frames_of({}, {"channel": None, "status": "other"}, {"channel": "edi"})
    report = tf.data_quality(frames, by="channel")
    assert report.index.names == ["channel", "check"]
    assert report.index.get_level_values("check").tolist() == NAMES * 3
    other = report.xs("status_other", level="check")
    assert other["n"].tolist() == [0, 0, 1]
    assert other["examples"].tolist() == [[], [], ["a1"]]
    assert other["detail"].fillna("").tolist() == ["", "", "SHIPPED (1)"]
    both = tf.data_quality(frames, by=["channel", "type"])
    assert both["n"].tolist() == report["n"].tolist()


@pytest.mark.parametrize("examples", [0, 1, 2])
def test_examples_are_few_and_each_order_comes_once(examples):
    line = LINE | {"sku": None}
    report = tf.data_quality(frames_of(*[{"line_items": [line, line]}] * 3), examples=examples)
    assert report.loc["line_without_sku", ["n", "of"]].tolist() == [6, 6]
    assert report.loc["line_without_sku", "examples"] == ["a0", "a1", "a2"][:examples]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize("by", [None, "channel", ["channel", "type"]])
def test_empty_frames_keep_columns_and_types(by, backend):
    filled = tf.data_quality(frames_of({}, backend=backend), by=by)
    for empty in (OrderFrames.from_json([], dtype_backend=backend), frames_of().orders):
        report = tf.data_quality(empty, by=by, as_of=NOON)
        assert list(report.columns) == COLUMNS
        assert report.dtypes.equals(filled.dtypes)
        assert report.index.names == filled.index.names
        assert len(report) == (0 if by else len(NAMES))
        assert report["share"].isna().all()
        assert (report["of"].dropna() == 0).all()


def test_nothing_personal_is_in_the_report(monkeypatch):
    monkeypatch.setenv("TRACKSTAR_PII_KEY", "a key for these tests alone")
    for pii in ("drop", "hash"):
        frames = OrderFrames.from_json({"data": marked_orders.ORDERS}, pii=pii)
        report = tf.data_quality(frames, as_of=NOON, examples=99)
        assert report.loc["value_not_kept", "n"] > 9
        for mark in (marked_orders.MARK, str(marked_orders.DIGITS)):
            assert mark not in report.to_csv() + json.dumps(report.attrs)


def test_attrs_go_through_json_and_the_report_through_parquet(tmp_path):
    frames = frames_of({}, {"status": "other"})
    report = tf.data_quality(frames, by="channel", tz={"east": "Asia/Tokyo", None: "UTC"})
    assert json.loads(json.dumps(report.attrs)) == report.attrs
    info = report.attrs["trackstar"]
    assert info["connection"] == "acme"
    assert info["data_quality"]["as_of"] == NOON
    assert info["data_quality"]["tz"] == {"east": "Asia/Tokyo"}
    assert "data_quality" not in frames.orders.attrs["trackstar"]
    report.reset_index().to_parquet(tmp_path / "report.parquet")
    again = pd.read_parquet(tmp_path / "report.parquet")
    assert again["n"].tolist() == report["n"].tolist()


def test_any_index_does_and_orders_stay_as_they_are():
    orders = frames_of({"status": "other"}, {"created_date": None}, {}).orders
    before = orders.copy()
    expected = tf.data_quality(orders, by="channel")
    pd.testing.assert_frame_equal(
        tf.data_quality(orders.set_axis([1, 1, 1]), by="channel"), expected
    )
    pd.testing.assert_frame_equal(orders, before)


def test_an_unknown_as_of_is_now_with_a_warning():
    frames = frames_of({}, {"updated_date": "2999-01-01T00:00:00Z"}, fetched_at=None)
    with pytest.warns(UserWarning, match="do not say when they were fetched") as caught:
        report = tf.data_quality(frames)
    assert caught[0].filename == __file__
    assert report.loc["after_as_of", ["n", "detail"]].tolist() == [1, "updated_date (1)"]


def test_bad_arguments_are_refused():
    frames = frames_of({})
    with pytest.raises(
        TypeError, match=r"frames is a list that lacks orders, .*; pass the OrderFrames"
    ):
        tf.data_quality([])
    with pytest.raises(ValueError, match=r"orders lacks 'raw_status', 'order_number'"):
        tf.data_quality(frames.orders.drop(columns=["raw_status", "order_number"]))
    tables = {name: getattr(frames, name) for name in TABLES}
    tables["problems"] = tables["problems"].drop(columns="path")
    with pytest.raises(ValueError, match=r"frames\.problems lacks 'path'"):
        tf.data_quality(SimpleNamespace(**tables))
    with pytest.raises(ValueError, match="more than one row of the order 'a0'"):
        tf.data_quality(pd.concat([frames.orders, frames.orders]))
    with pytest.raises(ValueError, match="by='chanel' is not allowed"):
        tf.data_quality(frames, by="chanel")
    with pytest.raises(ValueError, match=r"by='check': the result has a 'check' of its own"):
        tf.data_quality(frames.orders.assign(check=1), by="check")
    with pytest.raises(TypeError, match="examples='3' is not a whole number"):
        tf.data_quality(frames, examples="3")
    with pytest.raises(TypeError, match="examples=True is not a whole number"):
        tf.data_quality(frames, examples=True)
    with pytest.raises(ValueError, match="examples=-1 is not allowed; use zero or more"):
        tf.data_quality(frames, examples=-1)
    with pytest.raises(ValueError, match="tz has no zone for 1 of the warehouses: 'east'"):
        tf.data_quality(frames, tz={"west": "UTC"})
    with pytest.raises(TypeError, match="as_of=3 is not a moment"):
        tf.data_quality(frames, as_of=3)


@pytest.mark.slow
def test_more_groups_than_a_table_can_hold_are_refused():
    orders = frames_of({}).orders
    many = orders.iloc[[0] * 150_000].assign(id=[str(number) for number in range(150_000)])
    with pytest.raises(ValueError, match="150,000 groups are more than a table can hold"):
        tf.data_quality(many, by="id")


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("days", "tz", "zone"),
    [
        # New York, in winter and in summer.
        (["2026-01-03T05:00:00Z", "2026-07-03T04:00:00Z"], "UTC", "America/New_York (2)"),
        (["2026-01-03T08:00:00Z", "2026-07-03T07:00:00Z"], "UTC", "America/Los_Angeles (2)"),
        (["2026-01-03T23:00:00Z", "2026-07-03T22:00:00Z"], "UTC", "Europe/Berlin (2)"),
        # In London, winter's midnights are those of UTC, which are days anyhow.
        (["2026-01-03T00:00:00Z", "2026-07-03T23:00:00Z"], "UTC", "Europe/London (1)"),
        # Elsewhere if that is where the warehouse is said to be.
        (["2026-07-03T15:00:00Z"], "UTC", None),
        (["2026-07-03T15:00:00Z"], {"east": "Asia/Tokyo"}, "Asia/Tokyo (1)"),
        # No more than half of them: by chance.
        (["2026-01-03T05:00:00Z", "2026-01-03T17:00:00Z"], "UTC", None),
        (["2026-01-03T05:00:00Z"] * 2 + ["2026-01-03T17:00:00Z"], "UTC", "America/New_York (2)"),
    ],
)
def test_due_times_that_are_midnight_where_the_warehouse_is(days, tz, zone):
    report = tf.data_quality(frames_of(*({"required_ship_date": day} for day in days)), tz=tz)
    found = report.loc["due_at_local_midnight"]
    assert found["of"] == len(days)
    assert found["detail"] == zone if zone else (pd.isna(found["detail"]) and found["n"] == 0)


def test_each_warehouse_may_have_midnights_of_its_own():
    hours = {"a": "05", "b": "08", "c": "17", None: "08"}
    orders = [
        {"warehouse_id": name, "required_ship_date": f"2026-01-03T{hour}:00:00Z"}
        for name, hour in hours.items()
    ]
    found = tf.data_quality(frames_of(*orders)).loc["due_at_local_midnight"]
    assert found["examples"] == ["a0", "a1", "a3"]
    assert found["detail"] == "America/Los_Angeles (2), America/New_York (1)"


def test_what_ships_after_as_of_has_not_shipped_yet():
    early = dt.datetime(2026, 3, 2, 11, 59, tzinfo=dt.UTC)
    frames = frames_of({"status": "cancelled"}, {"status": "packed"}, sent_line(quantity=3))
    names = ["cancelled_but_shipped", "complete_but_open", "overshipped"]
    for as_of, n in ((NOON, 1), (early, 0)):
        assert tf.data_quality(frames, as_of=as_of).loc[names, "n"].tolist() == [n] * 3
