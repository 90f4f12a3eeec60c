import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames, fill_rates

DAY = "2026-03-02T12:00:00Z"
LATER = "2026-03-05T12:00:00Z"
AS_OF = "2026-03-03"
COUNTS = [
    *("orders", "orders_filled", "lines", "lines_filled", "units", "units_filled"),
    *("units_overshipped", "kit_units", "unmatched_units", "left_out"),
]
RATES = ["order_rate", "line_rate", "unit_rate", "unmatched_share"]
COLUMNS = [
    *("orders", "orders_filled", "order_rate", "order_rate_low", "order_rate_high"),
    *("lines", "lines_filled", "line_rate", "line_rate_low", "line_rate_high"),
    *("units", "units_filled", "unit_rate", "units_overshipped", "kit_units"),
    *("unmatched_units", "unmatched_share", "small", "left_out"),
]


def line(sku, quantity, **more):
    return {"sku": sku, "quantity": quantity, **more}


def shipment(*lines, at=DAY, **more):
    return {"shipped_date": at, "line_items": list(lines), **more}


def order(lines, *shipments, **more):
    return {"id": "a", "line_items": lines, "shipments": list(shipments), **more}


def rates(*orders, as_of=AS_OF):
    named = [each | {"id": f"{number:03}"} for number, each in enumerate(orders)]
    return fill_rates(OrderFrames.from_json(named), as_of=as_of).iloc[0]


def counts(*orders, as_of=AS_OF):
    """Return lines_filled, units_filled, unmatched_units, kit_units."""
    row = rates(*orders, as_of=as_of)
    return tuple(
        int(row[name]) for name in ("lines_filled", "units_filled", "unmatched_units", "kit_units")
    )


def test_the_worked_example_of_the_field():
    ordered = [line("A", 5), line("B", 5), line("C", 10)]
    row = rates(order(ordered, shipment(line("A", 5), line("B", 5), line("C", 7))))
    assert row["line_rate"] == pytest.approx(2 / 3)
    assert (row["order_rate"], row["unit_rate"]) == (0, 0.85)
    assert row[["orders", "lines", "units"]].tolist() == [1, 3, 20]


def test_intervals_are_wilsons():
    # From Newcombe (1998), table I: 15 of 148.
    full = order([line("A", 1)], shipment(line("A", 1)))
    row = rates(*[full] * 15, *[order([line("A", 1)])] * 133)
    for name in ("order", "line"):
        found = row[[f"{name}_rate_low", f"{name}_rate_high"]].tolist()
        assert found == pytest.approx([0.0624, 0.1605], abs=6e-5)


def test_split_shipments_add_up_and_partial_ones_do_not_fill():
    ordered = [line("A", 3), line("B", 2)]
    first, second = shipment(line("A", 1), line("B", 2)), shipment(line("A", 2), at=LATER)
    assert counts(order(ordered, first)) == (1, 3, 0, 0)
    assert counts(order(ordered, first, second)) == (1, 3, 0, 0)
    assert counts(order(ordered, first, second), as_of=LATER) == (2, 5, 0, 0)


def test_cancelled_and_undated_shipments_fill_nothing():
    ordered = [line("A", 1)]
    sent = line("A", 1)
    assert counts(order(ordered, shipment(sent, status="cancelled"))) == (0, 0, 0, 0)
    assert counts(order(ordered, shipment(sent, at=None))) == (0, 0, 0, 0)


def test_lines_of_one_sku_are_filled_in_their_order_and_never_over():
    ordered = [line("A", 2), line("A", 3), line("B", 1)]
    assert counts(order(ordered, shipment(line("A", 4)))) == (1, 4, 0, 0)
    row = rates(order(ordered, shipment(line("A", 9), line("A", 1))))
    assert (row["lines_filled"], row["units_filled"], row["units_overshipped"]) == (2, 5, 5)


def test_a_line_that_stands_later_in_the_frame_keeps_its_place():
    frames = OrderFrames.from_json(order([line("A", 1), line("A", 5)], shipment(line("A", 1))))
    turned = SimpleNamespace(
        orders=frames.orders,
        line_items=frames.line_items[::-1],
        shipments=frames.shipments,
        shipment_line_items=frames.shipment_line_items,
        package_line_items=frames.package_line_items,
    )
    assert fill_rates(turned, as_of=AS_OF)["lines_filled"][0] == 1


def test_orders_do_not_share():
    ordered = [line("A", 2)]
    row = rates(order(ordered, shipment(line("A", 4))), order(ordered))
    assert (row["orders"], row["orders_filled"], row["units_filled"]) == (2, 1, 2)


def test_what_has_no_sku_is_covered_by_number_and_reported():
    ordered = [line(None, 3), line("A", 1)]
    row = rates(order(ordered, shipment(line(None, 2), line("A", 1), line("Z", 2))))
    # What is left of Z goes to the line without a sku first.
    assert row[["lines", "lines_filled", "orders_filled"]].tolist() == [2, 2, 1]
    assert row[["units", "units_filled", "units_overshipped"]].tolist() == [4, 4, 1]
    assert row["unmatched_units"] == 3 + 2 + 2
    assert row["unmatched_share"] == 7 / (4 + 5)
    assert counts(order([line("A", 2)], shipment(line(None, 1)))) == (0, 1, 1, 0)


def test_a_sku_of_another_order_is_no_match():
    row = rates(order([line("A", 1)], shipment(line("B", 1))), order([line("B", 1)]))
    assert row[["units_filled", "unmatched_units"]].tolist() == [0, 1]


def test_lines_of_nothing_are_left_out_and_ones_of_no_known_quantity_are_not_filled():
    sent = shipment(line("A", 1))
    void = order([line("A", 1), line("B", 0), line("C", -1)], sent)
    frames = OrderFrames.from_json(void)
    table = fill_rates(frames, as_of=AS_OF)
    assert table.loc[0, ["lines", "lines_filled", "orders_filled", "units"]].tolist() == [1] * 4
    assert table.attrs["trackstar"]["fill_rates"]["lines_left_out"] == 2
    assert counts(order([line("A", 1), line("B", 0)], shipment(line("B", 1)))) == (0, 0, 0, 0)
    netted = order([line("A", 2), line("A", -1)], shipment(line("A", 1)))
    assert rates(netted)[["lines", "units", "units_filled", "orders_filled"]].tolist() == [1] * 4
    unknown = order([line("A", 1), line("B", None)], sent)
    table = fill_rates(OrderFrames.from_json(unknown), as_of=AS_OF)
    assert table.loc[0, ["lines", "lines_filled", "orders_filled", "units"]].tolist() == [
        2,
        1,
        0,
        1,
    ]
    assert table.attrs["trackstar"]["fill_rates"]["lines_unknown"] == 1


KIT = line("KIT", 2, product_id="k")


def part(sku, quantity, parent="k"):
    return line(sku, quantity, parent_product_id=parent)


def test_a_kit_is_filled_by_its_parts_as_far_as_the_scarcest():
    assert counts(order([KIT], shipment(part("P", 2), part("Q", 2)))) == (1, 2, 0, 4)
    # There is no bill of materials: its parts are those in shipments that are not cancelled.
    assert counts(order([KIT], shipment(part("P", 2), part("Q", 1)))) == (1, 2, 0, 3)
    half = shipment(part("P", 2), part("Q", 1)), shipment(part("Q", 1), at=None)
    assert counts(order([KIT], *half)) == (0, 1, 0, 3)


def test_a_part_that_has_not_shipped_holds_its_kit_back():
    sent = shipment(part("P", 2))
    assert counts(order([KIT], sent, shipment(part("Q", 2), at=LATER))) == (0, 0, 0, 2)
    assert counts(order([KIT], sent, shipment(part("Q", 2), at=None))) == (0, 0, 0, 2)
    void = shipment(part("Q", 2), status="cancelled")
    assert counts(order([KIT], sent, void)) == (1, 2, 0, 2)


def test_a_kit_that_ships_under_its_own_sku_is_filled_by_it():
    assert counts(order([KIT], shipment(line("KIT", 2)))) == (1, 2, 0, 0)
    both = [shipment(line("KIT", 1)), shipment(part("P", 1), part("Q", 1))]
    assert counts(order([KIT], *both)) == (1, 2, 0, 2)
    assert counts(order([KIT], shipment(line("KIT", 1), part("P", 2)))) == (1, 2, 0, 2)
    assert counts(order([KIT], shipment(part("KIT", 2)))) == (1, 2, 0, 2)


def test_a_part_fills_no_line_of_its_own_sku_while_its_kit_is_ordered():
    ordered = [line("P", 2, product_id="p"), KIT]
    assert counts(order(ordered, shipment(part("P", 2)))) == (1, 2, 0, 2)
    assert counts(order([line("P", 2)], shipment(part("P", 2)))) == (1, 2, 0, 0)
    assert counts(order([line("X", 2)], shipment(part("P", 2)))) == (0, 0, 2, 0)


def test_parts_without_a_sku_are_distinguished_by_their_item():
    parts = [part(None, 2) | {"inventory_item_id": item} for item in "pq"]
    assert counts(order([KIT | {"sku": None}], shipment(*parts))) == (1, 2, 0, 4)
    half = [parts[1] | {"quantity": 1}] * 2
    sent = shipment(parts[0], half[0]), shipment(half[1], at=LATER)
    assert counts(order([KIT], *sent)) == (0, 1, 0, 3)


def test_orders_that_are_left_out_are_reported():
    frames = OrderFrames.from_json(
        [
            order([line("A", 1)]),
            order([line("A", 1)], status="cancelled") | {"id": "b"},
            order([line("A", 1)], created_date=LATER) | {"id": "c"},
            order([], shipment(line("A", 1))) | {"id": "d"},
            order([line("A", 0)]) | {"id": "e"},
        ]
    )
    table = fill_rates(frames, as_of=AS_OF)
    assert table.loc[0, ["orders", "left_out", "units_overshipped"]].tolist() == [1, 4, 0]
    info = table.attrs["trackstar"]["fill_rates"]
    assert info == {
        "as_of": "2026-03-03T23:59:59.999999+00:00",
        "of": "all",
        "left_out": {
            "created after as_of": 1,
            "cancelled": 1,
            "not due": 0,
            "not shipped": 0,
            "nothing ordered": 2,
        },
        "lines_left_out": 0,
        "lines_unknown": 0,
    }
    assert json.loads(json.dumps(table.attrs)) == table.attrs
    assert fill_rates(frames, as_of=LATER)["left_out"][0] == 3


def test_rates_are_of_all_orders_or_of_those_due_or_shipped():
    due = {"required_ship_date": "2026-03-02T00:00:00Z"}
    frames = OrderFrames.from_json(
        [
            order([line("A", 2)], shipment(line("A", 1)), **due),
            order([line("A", 1)], required_ship_date="2026-03-09T00:00:00Z") | {"id": "b"},
            order([line("A", 1)], shipment(line("A", 1))) | {"id": "c"},
            order([line("A", 1)], **due) | {"id": "d"},
        ]
    )
    found = {
        of: fill_rates(frames, of=of, as_of=AS_OF).loc[0, ["orders", "units", "units_filled"]]
        for of in ("all", "due", "shipped")
    }
    assert {of: row.tolist() for of, row in found.items()} == {
        "all": [4, 5, 2],
        "due": [2, 3, 1],
        "shipped": [2, 3, 2],
    }
    table = fill_rates(frames, of="due", as_of=AS_OF, policy=tf.SlaPolicy(grace="3D"))
    assert table["orders"].tolist() == [0]
    info = table.attrs["trackstar"]
    assert info["fill_rates"]["left_out"]["not due"] == 4
    assert info["compliance"]["grace"] == "3 days 00:00:00"
    with pytest.raises(ValueError, match="of='late' is not allowed"):
        fill_rates(frames, of="late", as_of=AS_OF)


def test_what_is_named_only_in_packages_has_shipped():
    sent = {"shipped_date": DAY, "packages": [{"line_items": [line("A", 2)]}]}
    frames = OrderFrames.from_json(order([line("A", 2)], sent, channel="web"))
    table = fill_rates(frames, by="channel", as_of=AS_OF, labels={"web": "Shop"})
    assert table.loc["Shop", ["orders_filled", "units_filled"]].tolist() == [1, 2]
    names = ("orders", "line_items", "shipments", "shipment_line_items")
    few = SimpleNamespace(**{name: getattr(frames, name) for name in names})
    with pytest.raises(TypeError, match="lacks package_line_items"):
        fill_rates(few, as_of=AS_OF)


def test_nulls_are_a_group_and_groups_without_a_rate_are_rows():
    frames = OrderFrames.from_json(
        [
            order([line("A", 1)], shipment(line("A", 1)), channel="web"),
            order([line("A", 1)]) | {"id": "b"},
            order([line("A", 1)], status="cancelled", channel="edi") | {"id": "c"},
        ]
    )
    table = fill_rates(frames, by="channel", as_of=AS_OF)
    assert table.index[:2].tolist() == ["edi", "web"]
    assert pd.isna(table.index[2])
    assert table["orders"].tolist() == [0, 1, 1]
    assert table["left_out"].tolist() == [1, 0, 0]
    assert table.loc["edi", [*RATES, "order_rate_low", "line_rate_high"]].isna().all()
    assert table["order_rate"].tolist()[1:] == [1, 0]


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize("by", [None, "channel", ["channel", "type"]])
def test_empty_frames_keep_columns_and_types(backend, by):
    table = fill_rates(OrderFrames.from_json([], dtype_backend=backend), by=by, as_of=AS_OF)
    assert list(table.columns) == COLUMNS
    assert len(table) == (by is None)
    assert (table[COUNTS].dtypes == "int64").all()
    assert table["small"].dtype == "bool"
    rates = table.drop(columns=[*COUNTS, "small"])
    assert (rates.dtypes == "float64").all()
    assert rates.isna().all(axis=None)
    assert (table[COUNTS] == 0).all(axis=None)


def test_as_of_is_when_the_data_were_fetched(shared_sandbox, tmp_path):
    frames = tf.fetch_orders(client=shared_sandbox.client())
    table = fill_rates(frames)
    info = table.attrs["trackstar"]
    assert pd.Timestamp(info["fill_rates"]["as_of"]) == pd.Timestamp(info["fetched_at"])
    assert info["fetched_at"] == frames.info["fetched_at"]
    again = fill_rates(tf.write_snapshot(frames, tmp_path).read(dtype_backend="pyarrow"))
    pd.testing.assert_frame_equal(again, table)


def test_without_it_now_is_taken_and_reported():
    frames = OrderFrames.from_json(order([line("A", 1)], shipment(line("A", 1))))
    with pytest.warns(UserWarning, match="do not say when they were fetched") as caught:
        assert fill_rates(frames)["orders_filled"][0] == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"by": "chanel"}, ValueError, "did you mean 'channel'"),
        ({"by": 3}, TypeError, "by=3 is not a column"),
        ({"as_of": "soon"}, ValueError, "as_of='soon' is not a moment"),
        ({"as_of": 5}, TypeError, "as_of=5 is not a moment"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fill_rates(OrderFrames.from_json([]), **arguments)


def test_what_is_no_frames_is_refused(tmp_path):
    frames = OrderFrames.from_json(order([line("A", 1)]))
    with pytest.raises(
        TypeError, match=r"frames is a DataFrame that lacks orders, .*; pass the OrderFrames"
    ):
        fill_rates(frames.orders, as_of=AS_OF)
    with pytest.raises(TypeError, match=r"frames is a Snapshot that lacks .*\.read\(\)"):
        fill_rates(tf.write_snapshot(frames, tmp_path), as_of=AS_OF)
    names = ("orders", "shipments", "shipment_line_items", "package_line_items")
    tables = {name: getattr(frames, name) for name in names}
    lines = frames.line_items.drop(columns="sku")
    with pytest.raises(ValueError, match=r"frames\.line_items lacks 'sku'; pass"):
        fill_rates(SimpleNamespace(**tables, line_items=lines), as_of=AS_OF)
    with pytest.raises(TypeError, match=r"frames\.line_items is a list"):
        fill_rates(SimpleNamespace(**tables, line_items=[]), as_of=AS_OF)
    twice = tables | {"orders": pd.concat([frames.orders] * 2)}
    with pytest.raises(ValueError, match="more than one row of the order 'a'"):
        fill_rates(SimpleNamespace(**twice, line_items=frames.line_items), as_of=AS_OF)


def test_quantities_too_large_to_add_up_are_reported():
    frames = OrderFrames.from_json(order([line("A", 2**53), line("B", 1)]))
    with pytest.raises(ValueError, match=r"frames\.line_items are too large.*9,007,199,254"):
        fill_rates(frames, as_of=AS_OF)
    assert np.isfinite(rates(order([line("A", 2**53 - 1)]))["units"])
