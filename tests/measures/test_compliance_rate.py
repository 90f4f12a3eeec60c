import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackstar_frames.measures import OUTCOMES, SlaPolicy, compliance_rate, ship_date_compliance

COUNTS = [*OUTCOMES[:4], "early", "pending", "not_evaluable"]
COLUMNS = ["n", *COUNTS, "rate", "rate_low", "rate_high", "small"]


def judged(outcomes, due=None, tz="UTC", **columns):
    table = pd.DataFrame(
        {"outcome": pd.Categorical(outcomes, categories=list(OUTCOMES)), **columns}
    )
    table["is_due"] = ~table["outcome"].isin(["pending", "not_evaluable"])
    stamps = pd.to_datetime(pd.Series(due or [None] * len(outcomes)), utc=True, format="ISO8601")
    table["due_at"] = stamps.astype("datetime64[us, UTC]").array
    policy = {"tz": tz} if isinstance(tz, str) else {"tz": tz, "tz_default": None}
    table.attrs = {"trackstar": {"compliance": policy}}
    return table


def test_the_rate_counts_overdue_orders_as_late_and_pending_ones_not_at_all():
    table = compliance_rate(
        judged(["on_time"] * 3 + ["late_shipped", "late_open", "short", "pending", "not_evaluable"])
    )
    assert list(table.columns) == COLUMNS
    assert table.iloc[0, :8].tolist() == [6, 3, 1, 1, 1, 0, 1, 1]
    assert table["rate"][0] == 0.5


# From Newcombe (1998), table I, "score method": the interval of r successes in n.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(successes, n, low, high):
    table = compliance_rate(judged(["on_time"] * successes + ["late_open"] * (n - successes)))
    assert table["rate_low"][0] == pytest.approx(low, abs=6e-5)
    assert table["rate_high"][0] == pytest.approx(high, abs=6e-5)


def test_an_interval_stays_within_bounds():
    table = compliance_rate(judged(["on_time"] * 7))
    assert table["rate_high"][0] == 1
    assert 0 < table["rate_low"][0] < 1


@pytest.mark.parametrize("by", [None, "channel", ["channel", "type"]])
@pytest.mark.parametrize("freq", [None, "W"])
def test_empty_frames_keep_columns_and_types(by, freq):
    table = compliance_rate(judged([], channel=[], type=[]), by=by, freq=freq)
    assert list(table.columns) == [*COLUMNS, *(["final", "covered"] if freq else [])]
    assert (table.dtypes.iloc[:8] == "int64").all()
    assert (table.dtypes.iloc[8:11] == "float64").all()
    assert (table.dtypes.iloc[11:] == "bool").all()
    assert len(table) == (by is None and freq is None)
    names = [] if by is None else [by] if isinstance(by, str) else by
    assert list(table.index.names) == ([*names, *(["period"] if freq else [])] or [None])
    if by is None and freq is None:
        assert table["n"][0] == 0
        assert table["rate"].isna()[0]


def test_groups_keep_nulls_and_every_row_is_counted():
    table = compliance_rate(
        judged(["on_time", "pending", "late_open"], channel=["web", None, "web"]), by="channel"
    )
    assert table.index[0] == "web"
    assert pd.isna(table.index[1])
    assert table["n"].tolist() == [2, 0]
    assert table["rate"].isna().tolist() == [False, True]


def test_gaps_between_periods_are_rows_and_undated_ones_are_counted_apart():
    due = ["2026-01-05T10:00Z", "2026-01-27T10:00Z", None]
    table = compliance_rate(judged(["on_time", "late_open", "not_evaluable"], due), freq="W")
    assert table.index.name == "period"
    assert table.index.strftime("%Y-%m-%d").tolist() == [
        "2026-01-05",
        "2026-01-12",
        "2026-01-19",
        "2026-01-26",
    ]
    assert table["n"].tolist() == [1, 0, 0, 1]
    assert table["rate"].tolist()[0] == 1
    assert table["rate"].isna().tolist() == [False, True, True, False]
    assert table["not_evaluable"].sum() == 0
    assert table.attrs["trackstar"]["compliance"]["without_period"] == 1
    assert table.loc["2026-01-12":"2026-01-26", "n"].tolist() == [0, 0, 1]
    assert table.loc["2026-02":].empty


def test_every_group_has_every_period():
    due = ["2026-01-05T10:00Z", "2026-01-12T10:00Z", None]
    table = compliance_rate(
        judged(["on_time", "on_time", "not_evaluable"], due, channel=["a", "b", "b"]),
        by="channel",
        freq="W",
    )
    assert list(table.index.names) == ["channel", "period"]
    assert table["n"].tolist() == [1, 0, 0, 1]
    assert table.loc["a", "n"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("freq", "start"),
    [
        ("D", "2026-03-04"),
        ("W", "2026-03-02"),
        ("W-SUN", "2026-03-02"),
        ("W-SAT", "2026-03-01"),
        ("W-WED", "2026-02-26"),
        ("W-TUE", "2026-03-04"),
        ("M", "2026-03-01"),
        ("MS", "2026-03-01"),
        ("ME", "2026-03-01"),
        ("QS", "2026-01-01"),
        ("YS", "2026-01-01"),
    ],
)
def test_periods_start_where_the_calendar_says(freq, start):
    table = compliance_rate(judged(["on_time"], ["2026-03-04T12:00Z"]), freq=freq)
    assert table.index.tolist() == [pd.Timestamp(start)]


@given(
    st.datetimes(pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")),
    st.sampled_from(["D", "W", "W-MON", "W-SAT", "M", "Q", "Y"]),
)
@settings(max_examples=100, deadline=None)
def test_periods_are_those_of_pandas(moment, freq):
    table = compliance_rate(judged(["on_time"], [moment.isoformat()]), freq=freq)
    assert table.index[0] == pd.Period(moment, freq).start_time


def test_periods_follow_the_warehouses_calendars():
    # The end of Sunday in New York is Monday in UTC; Monday morning in Tokyo is Sunday in UTC.
    due = ["2026-03-02T04:59:59.999999Z", "2026-03-01T23:00Z", "2026-03-01T23:00Z"]
    zones = {"e": "America/New_York", "t": "Asia/Tokyo"}
    table = judged(["on_time"] * 3, due, tz=zones, warehouse_id=["e", "t", None])
    with pytest.warns(
        UserWarning, match="1 orders that have been judged are in no period"
    ) as caught:
        by_day = compliance_rate(table, by="warehouse_id", freq="D")
    assert [each.filename for each in caught] == [__file__]
    filled = by_day[by_day["n"] > 0].reset_index()
    assert filled["period"].dt.strftime("%m-%d").tolist() == ["03-01", "03-02"]
    without = by_day.attrs["trackstar"]["compliance"]["without_period"]
    assert table["outcome"].size == by_day["n"].sum() + without


def test_a_lost_policy_is_reported():
    table = judged(["on_time"], ["2026-03-02T04:00Z"])
    for attrs in ({}, {"trackstar": {"fetched_at": "2026-03-04"}}):
        table.attrs = attrs
        for freq in (None, "D"):
            with pytest.warns(UserWarning, match="lost its policy") as caught:
                counts = compliance_rate(table, freq=freq)
            assert [each.filename for each in caught] == [__file__]
            info = {"as_of": None, "text": None, "n": 1}
            info |= {"without_period": 0, "lead": None} if freq else {}
            assert counts.attrs["trackstar"]["compliance"] == info
    assert counts.index[0] == pd.Timestamp("2026-03-02")


def test_the_policy_is_carried():
    orders = pd.DataFrame(
        {
            "status": ["open"],
            "required_ship_date": pd.NaT,
            "created_date": pd.NaT,
            "last_shipped_date": pd.NaT,
            "complete_shipped_date": pd.NaT,
            "units_ordered": 1,
        }
    )
    compliance = ship_date_compliance(orders, as_of="2026-03-02", tz="Asia/Tokyo")
    table = compliance_rate(compliance, freq="W")
    info = compliance.attrs["trackstar"]
    assert table.attrs["trackstar"] == {
        **info,
        "compliance": {**info["compliance"], "n": 0, "without_period": 1, "lead": None},
    }
    assert json.loads(json.dumps(table.attrs)) == table.attrs


def two_orders(**attrs):
    moments = pd.to_datetime(["2026-03-02", "2026-03-05"], utc=True)
    orders = pd.DataFrame({"status": "open", "created_date": moments[0], "channel": ["a", "b"]})
    orders["units_ordered"] = 1
    orders["required_ship_date"] = moments
    orders[["first_shipped_date", "last_shipped_date", "complete_shipped_date"]] = pd.NaT
    orders.attrs = attrs
    return orders


def test_plain_orders_are_judged_by_the_policy():
    policy = SlaPolicy(tz="Asia/Tokyo")
    for frame, as_of in [
        (two_orders(), "2026-03-04"),
        (two_orders(trackstar={"fetched_at": "2026-03-04"}), None),
    ]:
        table = compliance_rate(frame, by="channel", freq="W", policy=policy, as_of=as_of)
        judged_first = ship_date_compliance(frame, policy, as_of=as_of)
        expected = compliance_rate(judged_first, by="channel", freq="W")
        pd.testing.assert_frame_equal(table, expected)
        assert table.attrs == expected.attrs
        assert table.attrs["trackstar"]["compliance"]["n"] == 1
        pd.testing.assert_frame_equal(
            compliance_rate(
                judged_first, by="channel", freq="W", policy=policy, as_of="2026-03-04"
            ),
            table,
        )


def test_an_unknown_as_of_is_now_and_the_warning_points_here():
    with pytest.warns(UserWarning, match="pass as_of") as caught:
        compliance_rate(two_orders(), policy=SlaPolicy())
    assert [each.filename for each in caught] == [__file__]


def test_a_frame_that_was_judged_otherwise_is_refused():
    compliance = ship_date_compliance(two_orders(), as_of="2026-03-04")
    for chosen, message in [
        ({"policy": SlaPolicy(grace="1h")}, r"by another policy: 'Orders are .* judge it anew"),
        ({"policy": SlaPolicy(), "as_of": "2026-03-05"}, "but as of 2026-03-04T23:59:59"),
        ({"as_of": "2026-03-05"}, "but as of 2026-03-04T23:59:59"),
    ]:
        with pytest.raises(ValueError, match=message):
            compliance_rate(compliance, **chosen)
    compliance.attrs = {}
    assert compliance_rate(compliance, policy=SlaPolicy())["n"][0] == 1
    lost = compliance.drop(columns="judged_by")
    with pytest.raises(ValueError, match="judged already, by an unknown policy"):
        compliance_rate(lost, policy=SlaPolicy())
    with pytest.raises(TypeError, match="policy is a str; pass an SlaPolicy"):
        compliance_rate(two_orders(), policy="amazon", as_of="2026-03-04")


def test_n_in_attrs_is_that_of_the_table():
    compliance = ship_date_compliance(two_orders(), as_of="2026-03-09")
    assert "n" not in compliance.attrs["trackstar"]["compliance"]
    for rows, n in ((compliance, 2), (compliance[:1], 1), (compliance[:0], 0)):
        for freq in (None, "D"):
            assert compliance_rate(rows, freq=freq).attrs["trackstar"]["compliance"]["n"] == n


def test_small_groups_are_marked_and_kept():
    table = judged(
        ["on_time"] * 30 + ["late_open"] * 29 + ["pending"],
        due=[f"2026-03-0{1 + number % 4}" for number in range(60)],
        channel=["big"] * 30 + ["small"] * 29 + ["none"],
    )
    assert compliance_rate(table, by="channel")["small"].to_dict() == {
        "big": False,
        "small": True,
        "none": True,
    }
    # As many orders, but due on three days only.
    three = judged(["on_time"] * 60, due=[f"2026-03-0{1 + number % 3}" for number in range(60)])
    assert compliance_rate(three)["small"].tolist() == [True]


def test_below_the_bound_a_rate_of_ninety_percent_is_anywhere_in_twenty_points():
    wide = compliance_rate(judged(["on_time"] * 26 + ["late_open"] * 3)).iloc[0]
    assert wide["small"]
    assert wide["rate_high"] - wide["rate_low"] > 0.2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(OUTCOMES),
            st.sampled_from(["x", "y", None]),
            st.none()
            | st.dates(pd.Timestamp("2026-01-01").date(), pd.Timestamp("2026-03-01").date()),
        ),
        max_size=30,
    ),
    st.sampled_from([None, "D", "W", "MS"]),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_and_grouping_equals_filtering(rows, freq, grouped):
    outcomes, groups, days = zip(*rows, strict=True) if rows else ((), (), ())
    due = [None if day is None else day.isoformat() for day in days]
    table = judged(list(outcomes), due, channel=np.array(groups, dtype=object))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ orders that have been judged are in no period")
        counts = compliance_rate(table, by="channel" if grouped else None, freq=freq)
    left_out = counts.attrs["trackstar"]["compliance"].get("without_period", 0)
    assert counts[COUNTS].to_numpy().sum() + left_out == len(rows)
    judged_rows = counts[["on_time", "late_shipped", "late_open", "short"]].sum(axis=1)
    assert (counts["n"] == judged_rows).all()
    known = counts[counts["n"] > 0]
    assert (known["rate"] == known["on_time"] / known["n"]).all()
    assert (known["rate_low"] <= known["rate"]).all()
    assert (known["rate"] <= known["rate_high"]).all()
    assert counts.loc[counts["n"] == 0, ["rate", "rate_low", "rate_high"]].isna().all(axis=None)
    if grouped and freq is None:
        for name in {"x", "y"} & set(groups):
            only = compliance_rate(table[table["channel"] == name])
            assert counts.loc[name, COLUMNS[:8]].tolist() == only.iloc[0, :8].tolist()


def test_categories_without_orders_are_not_groups():
    channel = pd.Categorical(["a"], categories=["z", "a"])
    assert compliance_rate(judged(["on_time"], channel=channel), by="channel").index.tolist() == [
        "a"
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"by": "chanel"}, ValueError, "did you mean 'channel'"),
        ({"by": 3}, TypeError, "by=3 is not a column"),
        ({"by": ["channel", 3]}, TypeError, "not a column"),
        ({"by": ["channel", "channel"]}, ValueError, "twice"),
        ({"freq": "weekly"}, ValueError, "use one of 'D', 'W'"),
        ({"freq": 7}, TypeError, "pass a string"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        compliance_rate(judged(["on_time"], channel=["web"]), **arguments)


def test_a_frame_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"lacks 'status'.*fetch_orders_df"):
        compliance_rate(pd.DataFrame({"id": ["1"]}))
    with pytest.raises(ValueError, match=r"lacks 'is_due', 'due_at'.*ship_date_compliance"):
        compliance_rate(pd.DataFrame({"outcome": ["on_time"]}))
    with pytest.raises(TypeError, match="fetch_orders_df"):
        compliance_rate("orders")
    for outcomes, message in ((["shipped"], "not allowed"), (["on_time", None], "nulls")):
        table = judged(["pending"] * len(outcomes)).assign(outcome=outcomes)
        with pytest.raises(ValueError, match=message):
            compliance_rate(table)


def test_a_stray_date_does_not_fill_the_memory():
    table = judged(["on_time"] * 2, channel=["a", "b"])
    stamps = np.array(["0001-01-01", "9999-12-29"], dtype="M8[us]")
    table["due_at"] = pd.DatetimeIndex(stamps).tz_localize("UTC")
    assert len(compliance_rate(table, freq="YS")) == 9999
    with pytest.raises(ValueError, match=r"longer freq or fewer groups.*stray date"):
        compliance_rate(table, by="channel", freq="D")


@pytest.mark.parametrize("freq", [None, "W"])
def test_the_rate_of_no_orders_says_by_what_and_as_of_when_it_is(freq):
    policy = SlaPolicy(tz="America/New_York", grace="2h")
    orders = judged([])[[]].assign(
        **dict.fromkeys(["status", "units_ordered"], pd.Series(dtype=object)),
        **{
            f"{name}_date": pd.Series(dtype="datetime64[us, UTC]")
            for name in ("created", "required_ship", "last_shipped", "complete_shipped")
        },
    )
    info = compliance_rate(orders, policy=policy, freq=freq, as_of="2026-03-02").attrs["trackstar"]
    assert info["compliance"]["text"] == policy.text
    assert info["compliance"]["as_of"] == "2026-03-03T04:59:59.999999+00:00"
