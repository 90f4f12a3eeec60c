"""Measures and pictures are the same, whatever the types of the frame they read."""

import numpy as np
import pandas as pd
import pytest
from helpers.marks import slow
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import trackstar_frames as tf
from trackstar_frames import OrderFrames, measures, plots

BY = [
    "channel",
    "warehouse_id",
    "status",
    "saturday_delivery",
    "line_item_count",
    "total_price",
    "created_date",
    ["type", "units_ordered"],
]
JUDGED = ["due_at", "shipped_at", "outcome", "lateness", "reason"]
FREQ = [None, "W"]
TARGET = tf.SlaPolicy(target=0.9)


def zones(orders):
    some = orders["warehouse_id"].dropna().unique()[:1]
    return {str(some[0]): "Asia/Tokyo", None: "America/New_York"}


def clock(orders):
    of_some = {warehouse: "JP" for warehouse in zones(orders) if warehouse}
    holidays = {**of_some, None: ["2026-07-03"]}
    return tf.SlaPolicy(
        cut_off="15:30", tz=zones(orders), holidays=holidays, clock_start="updated_date"
    )


def rates(orders, by=None, freq=None):
    return tf.compliance_rate(tf.ship_date_compliance(orders, tz=zones(orders)), by=by, freq=freq)


#: Every public measure and picture, with arguments that have it read all its columns.
CASES = {
    "ship_date_compliance": [
        lambda orders: tf.ship_date_compliance(orders)[JUDGED],
        lambda orders: tf.ship_date_compliance(orders, tz=zones(orders), due_day="end")[JUDGED],
        lambda orders: tf.ship_date_compliance(orders, ship_event="first")[JUDGED],
        lambda orders: tf.ship_date_compliance(orders, ship_event="last", grace="2h")[JUDGED],
        lambda orders: tf.ship_date_compliance(orders, clock(orders))[JUDGED],
    ],
    "compliance_rate": [
        lambda orders, by=by, freq=freq: rates(orders, by, freq)
        for by in [None, *BY]
        for freq in FREQ
    ]
    + [
        lambda orders: tf.compliance_rate(
            orders, by="type", freq="W", policy=tf.SlaPolicy.b2b_four_business_days(window="90D")
        )
    ],
    "late_orders": [
        tf.late_orders,
        lambda orders: tf.late_orders(orders, policy=tf.SlaPolicy.d2c_noon_cut_off(), shipped=True),
        lambda orders: tf.late_orders(orders, as_of=orders["created_date"].median(), shipped=True),
    ],
    "status_mix": [
        *(
            lambda orders, by=by, freq=freq: tf.status_mix(orders, by=by, freq=freq)
            for by in [None, *BY]
            for freq in FREQ
        ),
        lambda orders: tf.status_mix(orders, by="channel", normalize=True),
    ],
    "backlog": [
        *(lambda orders, by=by: tf.backlog(orders, by=by) for by in [None, *BY] if by != "status"),
        lambda orders: tf.backlog(orders, as_of=orders["created_date"].median()),
    ],
    **{
        name: [
            *(
                lambda orders, by=by, name=name: getattr(tf, name)(orders, by=by)
                for by in [None, *BY]
            ),
            lambda orders, name=name: getattr(tf, name)(
                orders, as_of=orders["created_date"].median()
            ),
            *(
                [lambda orders: tf.cycle_time(orders, by="type", freq="W", policy=clock(orders))]
                if name == "cycle_time"
                else []
            ),
        ]
        for name in ("cycle_time", "cycle_time_curve")
    },
    "due_next": [
        lambda orders, by=by: tf.due_next(orders, by=by, policy=clock(orders))
        for by in [None, *BY]
        if by != "status"
    ],
    "sla_scorecard": [
        lambda orders, by=by: tf.sla_scorecard(orders, by=by, policy=tf.SlaPolicy(target=0.9))
        for by in [None, *BY]
    ],
    "failure_rates": [
        lambda orders, by=by, freq=freq: tf.failure_rates(
            orders, by=by, freq=freq, policy=clock(orders)
        )
        for by in [None, *BY]
        for freq in FREQ
    ],
    "transitions": [lambda orders: measures.transitions(orders[:100], orders[50:])],
    "moved_due_dates": [
        lambda orders: measures.moved_due_dates(
            orders, orders.assign(required_ship_date=orders["created_date"])
        )
    ],
    "plot_status_transitions": [
        lambda orders: tf.plot_status_transitions(measures.transitions(orders[:100], orders[50:]))
    ],
    "plot_ship_date_compliance": [
        lambda orders: tf.plot_ship_date_compliance(orders, tz=zones(orders)),
        lambda orders: tf.plot_ship_date_compliance(orders, by="channel"),
        lambda orders: tf.plot_ship_date_compliance(orders, by=["type", "status"], freq=None),
    ],
    "plot_status_mix": [
        lambda orders: tf.plot_status_mix(orders, freq="W"),
        lambda orders: tf.plot_status_mix(orders, by="saturday_delivery", normalize=True),
        lambda orders: tf.plot_status_mix(orders, by=["channel", "line_item_count"]),
    ],
    "plot_lateness": [lambda orders: tf.plot_lateness(orders, policy=clock(orders))],
    "plot_compliance_heatmap": [
        tf.plot_compliance_heatmap,
        lambda orders: tf.plot_compliance_heatmap(orders, by=["type", "units_ordered"], freq="MS"),
    ],
    "plot_backlog": [tf.plot_backlog, lambda orders: tf.plot_backlog(orders, by="channel")],
    "plot_cycle_time": [
        tf.plot_cycle_time,
        lambda orders: tf.plot_cycle_time(orders, by="saturday_delivery"),
    ],
    "plot_due_next": [
        lambda orders: tf.plot_due_next(orders, policy=clock(orders)),
        lambda orders: tf.plot_due_next(orders, by=["type", "units_ordered"]),
    ],
    "plot_scorecard": [
        lambda orders: tf.plot_scorecard(orders, policy=TARGET),
        lambda orders: tf.plot_scorecard(orders, policy=TARGET, by=["type", "units_ordered"]),
    ],
    "plot_overview": [lambda orders: tf.plot_overview(orders, policy=clock(orders))],
}

#: Measures that read other tables than the orders, too.
WHOLE_CASES = {
    "data_quality": [
        *(lambda frames, by=by: tf.data_quality(frames, by=by) for by in [None, *BY]),
        lambda frames: tf.data_quality(frames.orders, tz=zones(frames.orders)),
    ],
    "fill_rates": [
        *(lambda frames, by=by: tf.fill_rates(frames, by=by) for by in [None, *BY]),
        lambda frames: tf.fill_rates(frames, as_of=frames.orders["created_date"].median()),
        lambda frames: tf.fill_rates(frames, of="due", freq="W", policy=clock(frames.orders)),
        lambda frames: tf.fill_rates(frames, by="channel", of="shipped", freq="MS"),
    ],
    "throughput": [
        lambda frames, by=by, freq=freq: tf.throughput(
            frames, by=by, freq=freq, policy=clock(frames.orders)
        )
        for by in [None, *BY]
        for freq in ("MS", "weekday")
    ],
    "service_profile": [
        lambda frames, by=by, freq=freq: tf.service_profile(
            frames, by=by, freq=freq, policy=clock(frames.orders)
        )
        for by in [None, *BY]
        for freq in FREQ
    ],
    "shipping_costs": [
        lambda frames, by=by, freq=freq: tf.shipping_costs(
            frames, by=by, freq=freq, policy=clock(frames.orders)
        )
        for by in [None, "carrier_name", *BY]
        for freq in FREQ
    ],
    "ship_otif": [
        *(
            lambda frames, by=by, freq=freq: tf.ship_otif(
                frames, by=by, freq=freq, tz=zones(frames.orders)
            )
            for by in [None, *BY]
            for freq in FREQ
        ),
        lambda frames: tf.ship_otif(frames, due_day="end", grace="2h"),
    ],
}


#: Pictures that read other tables than the orders, too.
WHOLE_PICTURES = {
    "plot_throughput": [
        lambda frames: tf.plot_throughput(frames, freq="W"),
        lambda frames: tf.plot_throughput(frames, by=["type", "channel"], freq="MS"),
        lambda frames: tf.plot_throughput(frames, freq="weekday"),
    ],
}


@pytest.fixture(scope="module")
def frames(some_orders):
    odd = [{"id": "n"}, {"id": "u", "status": "zz", "required_ship_date": "2026-01-01T00:00:00Z"}]
    made = OrderFrames.from_json([*some_orders[:150], *odd])
    last = made.orders["updated_date"].max()
    info = {**made.info, "fetched_at": last.isoformat()}
    return [
        OrderFrames(made.to_arrow(), info, dtype_backend=backend) for backend in (None, "pyarrow")
    ]


def test_every_public_measure_and_plot_is_tried():
    public = {name for name in [*measures.__all__, *plots.__all__] if name.islower()}
    assert {*CASES, *WHOLE_CASES, *WHOLE_PICTURES} == public


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    "case",
    [
        each if number == 0 else slow(each)
        for name in measures.__all__
        for number, each in enumerate(CASES.get(name, []))
    ],
)
def test_measures_are_equal(frames, case):
    own, arrow = (case(each.orders) for each in frames)
    pd.testing.assert_frame_equal(own, arrow)
    assert own.attrs == arrow.attrs
    assert len(own)


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    "case",
    [
        each if number == 0 else slow(each)
        for cases in WHOLE_CASES.values()
        for number, each in enumerate(cases)
    ],
)
def test_measures_of_all_tables_are_equal(frames, case):
    own, arrow = map(case, frames)
    pd.testing.assert_frame_equal(own, arrow)
    assert own.attrs == arrow.attrs
    assert len(own)


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    "case",
    [
        each if number == 0 else slow(each)
        for name in plots.__all__
        for number, each in enumerate(CASES.get(name, []))
    ],
)
def test_plots_are_equal(frames, case):
    own, arrow = (picture(case(each.orders)) for each in frames)
    assert np.array_equal(own, arrow)
    assert own.std() > 0


@pytest.mark.parametrize(
    "case",
    [
        each if number == 0 else slow(each)
        for cases in WHOLE_PICTURES.values()
        for number, each in enumerate(cases)
    ],
)
def test_plots_of_all_tables_are_equal(frames, case):
    own, arrow = (picture(case(each)) for each in frames)
    assert np.array_equal(own, arrow)
    assert own.std() > 0


def picture(drawn):
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba()).copy()
    plt.close(figure)
    return pixels


@pytest.mark.parametrize("backend", [0, 1])
def test_what_pandas_reads_from_parquet_with_arrow_types_is_judged_alike(frames, backend, tmp_path):
    orders = frames[backend].orders
    orders.to_parquet(tmp_path / "orders.parquet")
    again = pd.read_parquet(tmp_path / "orders.parquet", dtype_backend="pyarrow")
    pd.testing.assert_frame_equal(
        tf.ship_date_compliance(orders, tz=zones(orders))[JUDGED],
        tf.ship_date_compliance(again, tz=zones(orders))[JUDGED],
    )
    pd.testing.assert_frame_equal(
        tf.status_mix(orders, by="channel", freq="W"), tf.status_mix(again, by="channel", freq="W")
    )


def test_whole_columns_of_nulls_and_empty_frames_are_read_alike():
    for given in ([], [{"id": "a"}, {"id": "b", "status": "open"}]):
        own, arrow = (
            OrderFrames.from_json(given, dtype_backend=backend).orders
            for backend in (None, "pyarrow")
        )
        pd.testing.assert_frame_equal(
            tf.ship_date_compliance(own, as_of="2026-01-01")[JUDGED],
            tf.ship_date_compliance(arrow, as_of="2026-01-01")[JUDGED],
        )
        for by in BY:
            pd.testing.assert_frame_equal(
                tf.status_mix(own, by=by, freq="W"), tf.status_mix(arrow, by=by, freq="W")
            )


def test_a_column_of_arrow_that_is_no_moment_is_named_with_its_type(frames):
    orders = frames[1].orders
    wrong = orders.assign(created_date=orders["id"])
    with pytest.raises(TypeError, match=r"'created_date' is string\[pyarrow\], not moments"):
        tf.status_mix(wrong, freq="W")
