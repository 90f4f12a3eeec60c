"""`OrderFrames`: what a notebook meets."""

import json

import numpy as np
import pandas as pd
import pytest

from trackstar_frames import OrderFrames, ResponseError, TrackstarClient, data_dictionary
from trackstar_frames.info import join_infos
from trackstar_frames.schema import LIFECYCLE, TABLES
from trackstar_frames.tables.assemble import concat

FULL = {
    "id": "a1",
    "status": "packed",
    "created_date": "2026-01-31T13:45:00Z",
    "total_price": 12.5,
    "saturday_delivery": True,
    "tags": ["gift", None],
    "line_items": [{"sku": "X", "quantity": 2, "is_picked": False}],
    "shipments": [
        {"shipment_id": "s", "line_items": [{"sku": "X", "quantity": 2}], "packages": [{}]}
    ],
}
NAMES = list(TABLES)


@pytest.mark.parametrize("given", [[], {"id": "a"}, FULL, [FULL, {"id": "b", "status": None}]])
@pytest.mark.parametrize("name", NAMES)
def test_types_are_those_of_the_data_dictionary(given, name):
    frame = getattr(OrderFrames.from_json(given), name)
    words = data_dictionary().query("table == @name").set_index("column")["type"]
    assert list(frame.columns) == list(words.index)
    text = "str" if pd.__version__ >= "3" else "object"
    expected = [text if kind == "str" else kind for kind in words]
    assert [str(kind) for kind in frame.dtypes] == expected
    assert isinstance(frame.index, pd.RangeIndex)


@pytest.mark.parametrize("name", [name for name in NAMES[:-1] if TABLES[name].value is None])
def test_what_is_unknown_stands_last(name):
    assert TABLES[name].columns[-1].name == "extra"


def test_status_is_ordered_by_lifecycle_and_takes_unknown_ones():
    orders = [{"id": str(i), "status": s} for i, s in enumerate(["zz", "open", "aa", None])]
    status = OrderFrames.from_json(orders).orders["status"]
    assert status.cat.ordered
    assert list(status.cat.categories) == [*LIFECYCLE, "aa", "zz"]
    assert status.tolist() == ["zz", "open", "aa", np.nan]


def test_lists_of_strings_are_tuples_and_rows_can_be_hashed():
    orders = OrderFrames.from_json([FULL, {"id": "b"}, {**FULL, "id": "c"}]).orders
    frame = orders.set_index("id")
    assert frame["tags"]["a1"] == ("gift", None)
    assert frame["tags"]["b"] is None
    assert len(orders.drop_duplicates()) == 3
    assert len(frame.reset_index(drop=True).drop_duplicates()) == 2
    assert orders.nunique()["tags"] == 1
    assert frame.groupby("tags").size().tolist() == [2]


@pytest.mark.parametrize(
    "given",
    [
        FULL,
        [FULL],
        json.dumps(FULL),
        json.dumps(FULL).encode(),
        bytearray(json.dumps(FULL).encode()),
        json.dumps([FULL]),
        json.dumps({"data": [FULL], "next_token": None, "total_count": 1}),
        [json.dumps({"data": [], "next_token": "x"}).encode(), FULL],
        {"data": [FULL], "next_token": None},
        iter([FULL]),
        "\n " + json.dumps(FULL),
    ],
)
def test_from_json_takes_many_shapes(given):
    frames = OrderFrames.from_json(given)
    assert frames.orders["id"].tolist() == ["a1"]
    assert frames.line_items["sku"].tolist() == ["X"]


@pytest.mark.parametrize(
    "given", ["", b"", "{", "3", b"[1]", '{"data": [1]}', "\udc80", b"\xff", "[" * 100_000, [5], 5]
)
def test_json_without_an_order_is_refused(given):
    with pytest.raises((ResponseError, TypeError)):
        OrderFrames.from_json(given)


def test_provenance_travels_with_every_frame():
    frames = OrderFrames.from_json([FULL, FULL])
    assert frames.info["duplicates"] == 1
    assert frames.line_items.attrs["trackstar"] == frames.info
    json.dumps(frames.orders.attrs)


def test_the_attrs_of_a_frame_are_its_own():
    frames = OrderFrames.from_json([FULL])
    made = OrderFrames(frames.to_arrow(), frames.info)
    frames.orders.attrs["trackstar"]["filters"]["mine"] = 1
    for others in (frames.line_items.attrs, frames.info, made.info, made.orders.attrs):
        assert "mine" not in json.dumps(others)


def test_attrs_do_not_grow_with_the_connections(tmp_path):
    one = OrderFrames.from_json([FULL])
    sizes = {}
    for number in (2, 1000):
        labels = [f"customer-{place}" for place in range(number)]
        tables = concat({label: one.to_arrow() for label in labels[:2]})
        info = join_infos(dict.fromkeys(labels, one.info), failed=dict.fromkeys(labels, "why"))
        frames = OrderFrames(tables, info)
        reported = frames.orders.attrs["trackstar"]
        assert (reported["connections"], reported["failed"]) == (number, number)
        assert len(frames.info["connections"]) == len(frames.info["failed"]) == number
        sizes[number] = len(json.dumps(reported))
        frames.orders.to_parquet(tmp_path / "orders.parquet")
        assert pd.read_parquet(tmp_path / "orders.parquet").attrs == frames.orders.attrs
    assert sizes[1000] - sizes[2] < 20


def test_a_plain_frame_goes_to_parquet_and_back(tmp_path):
    orders = OrderFrames.from_json([FULL, {"id": "b"}]).orders
    orders.to_parquet(tmp_path / "orders.parquet")
    again = pd.read_parquet(tmp_path / "orders.parquet")
    assert again.attrs == orders.attrs
    assert again["status"].tolist() == orders["status"].tolist()


def test_reprs_show_what_there_is_and_escape_what_came_from_outside():
    frames = OrderFrames.from_json(FULL)
    hostile = OrderFrames(
        frames.to_arrow(),
        {**frames.info, "connection": "<script>alert(1)</script>", "fetched_at": "<b>", "limit": 5},
    )
    assert repr(frames).startswith("OrderFrames(1 orders, 1 line_items, 1 shipments")
    assert "<script>" not in hostile._repr_html_()
    assert "<b>" not in hostile._repr_html_()
    assert "first 5" in hostile._repr_html_()
    part = OrderFrames(frames.to_arrow(), {**frames.info, "complete": False})
    assert "INCOMPLETE" in part._repr_html_()


def test_the_data_dictionary_describes_every_column_once():
    words = data_dictionary()
    assert not words.duplicated(["table", "column"]).any()
    assert words["description"].str.endswith(".").all()
    personal = set(words.loc[words["personal"], "column"])
    assert {"ship_to_address_full_name", "ship_to_address_email_address"} <= personal
    assert "ship_to_address_country" not in personal
    assert words.set_index(["table", "column"]).loc[
        ("packages", "measurements_weight"), "path"
    ] == ("shipments[].packages[].measurements.weight")


def test_a_client_without_a_network_is_a_repr():
    client = TrackstarClient("my-key", "my-token", connection="acme", cache=False)
    assert "acme" in repr(client)
    assert "my-" not in repr(client)
