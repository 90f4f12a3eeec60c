"""Kinds of status transitions, and due dates that move."""

import itertools

import numpy as np
import pandas as pd
import pytest

from trackstar_frames.measures import TRANSITIONS, moved_due_dates, transitions
from trackstar_frames.schema import LIFECYCLE

AS_OF = "2026-03-04T12:00:00+00:00"
PATH, OFF = LIFECYCLE[:7], [*LIFECYCLE[7:], "awaiting_customs", "zz", "(none)"]


def orders(statuses, fetched_at=AS_OF, **columns):
    frame = pd.DataFrame({"id": list(statuses), "status": list(statuses.values())}).assign(
        created_date=pd.Timestamp("2026-03-01T12:00Z"),
        required_ship_date=pd.Series(pd.NaT, dtype="datetime64[us, UTC]"),
    )
    for name, values in columns.items():
        frame[name] = values
    frame.attrs["trackstar"] = {"fetched_at": fetched_at}
    return frame


def meaning(was, now):
    if was == now:
        return "settled" if was in {"fulfilled", "cancelled"} else "stuck"
    match was in PATH, now in PATH:
        case True, True:
            return "forward" if PATH.index(was) < PATH.index(now) else "backward"
        case True, False:
            return "left_path"
        case False, True:
            return "returned"
    return "off_path"


def test_every_pair_of_statuses_has_its_meaning_and_its_place():
    pairs = list(itertools.product([*PATH, *OFF], repeat=2))
    statuses = [[None if each == "(none)" else each for each in pair] for pair in pairs]
    old = orders({f"{n}": was for n, (was, _) in enumerate(statuses)})
    new = orders({f"{n}": now for n, (_, now) in enumerate(statuses)})
    table = transitions(old.sample(frac=1, random_state=1), new.sample(frac=1, random_state=2))
    found = table[["from_status", "to_status", "kind"]].astype(object)
    assert [*found.itertuples(index=False, name=None)] == [
        (was, now, meaning(was, now)) for was, now in pairs
    ]
    assert (table["orders"] == 1).all()
    assert table["share"].to_numpy() == pytest.approx(1 / len([*PATH, *OFF]))
    assert table["from_status"].cat.categories.tolist() == [*PATH, *OFF]
    assert table["kind"].cat.categories.tolist() == list(TRANSITIONS)


def test_new_and_vanished_orders_stand_last():
    old = orders({"a": "open", "b": "open", "c": "packed", "d": None})
    new = orders({"e": "open", "a": "open", "f": "zz", "g": None})
    table = transitions(old, new)
    shown = table[["from_status", "to_status", "kind", "orders"]].astype(object)
    assert shown.where(shown.notna(), None).to_numpy().tolist() == [
        ["open", "open", "stuck", 1],
        ["open", None, "vanished", 1],
        ["packed", None, "vanished", 1],
        ["(none)", None, "vanished", 1],
        [None, "open", "new", 1],
        [None, "zz", "new", 1],
        [None, "(none)", "new", 1],
    ]
    assert table["share"].fillna(-1).tolist() == [0.5, 0.5, 1, 1, -1, -1, -1]


def test_ages_are_at_the_newer_as_of():
    created = pd.to_datetime(["2026-03-01T12:00Z", "2026-03-03T12:00Z", None])
    old = orders(dict.fromkeys("abc", "open"), "2026-03-02T00:00:00+00:00", created_date=created)
    new = orders(dict.fromkeys("ab", "open"), created_date=created[:2])
    table = transitions(old, new)
    assert table["median_age"].tolist() == [pd.Timedelta("2D"), pd.NaT]
    assert table["max_age"].tolist() == [pd.Timedelta("3D"), pd.NaT]
    # A vanished order is as old as the older frame says.
    gone = transitions(old, new.iloc[:1])
    assert gone["max_age"].tolist() == [pd.Timedelta("3D"), pd.Timedelta("1D")]
    unknown = transitions(old, orders({"a": "open"}, None))
    assert unknown[["median_age", "max_age"]].isna().all(axis=None)
    assert unknown.attrs["trackstar"] == {
        "old_as_of": "2026-03-02T00:00:00+00:00",
        "new_as_of": None,
    }
    assert (unknown.dtypes == table.dtypes).drop(["from_status", "to_status"]).all()


def test_any_index_does():
    old, new = orders(dict.fromkeys("abcd", "open")), orders(dict.fromkeys("dcba", "packed"))
    expected = transitions(old, new)
    odd = [frame.set_axis([1, 1, 0, 0]) for frame in (old, new)]
    pd.testing.assert_frame_equal(transitions(*odd), expected)
    assert expected["orders"].tolist() == [4]
    due = pd.date_range("2026-03-01", periods=4, tz="UTC")
    moved = [frame.assign(required_ship_date=due) for frame in odd]
    assert moved_due_dates(*moved)["moved"].dt.days.tolist() == [3, 1, -1, -3]


@pytest.mark.parametrize(
    ("was", "now", "moved", "kind"),
    [
        ("2026-03-01", "2026-03-03T06:00", "2D6h", "later"),
        ("2026-03-01", "2026-02-28", "-1D", "earlier"),
        (None, "2026-03-01", None, "set"),
        ("2026-03-01", None, None, "removed"),
        ("2026-03-01", "2026-03-01T00:00", None, None),
        (None, None, None, None),
    ],
)
def test_a_due_date_moves(was, now, moved, kind):
    old, new = (
        orders({"a": status}, required_ship_date=pd.to_datetime([due], utc=True))
        for status, due in (("open", was), ("packed", now))
    )
    table = moved_due_dates(old, new)
    assert table["kind"].tolist() == ([kind] if kind else [])
    if kind:
        row = table.iloc[0]
        assert (row["order_id"], row["status"]) == ("a", "packed")
        for name, due in (("old_due", was), ("new_due", now)):
            assert pd.isna(row[name]) if due is None else row[name] == pd.Timestamp(due, tz="UTC")
        assert pd.isna(row["moved"]) if moved is None else row["moved"] == pd.Timedelta(moved)
    assert [str(table[name].dtype) for name in ("old_due", "new_due", "moved")] == [
        *["datetime64[us, UTC]"] * 2,
        "timedelta64[us]",
    ]


def test_orders_of_one_side_only_have_not_moved():
    due = pd.to_datetime(["2026-03-01"], utc=True)
    table = moved_due_dates(orders({"a": "open"}, required_ship_date=due), orders({"b": "open"}))
    assert table.empty
    assert table.attrs["trackstar"] == {"old_as_of": AS_OF, "new_as_of": AS_OF}


def test_many_orders_are_counted_once_each():
    random = np.random.default_rng(0)
    ids = [f"{n}" for n in range(5000)]
    old = orders(dict(zip(ids[:4000], random.choice(LIFECYCLE, 4000), strict=True)))
    new = orders(dict(zip(ids[1000:], random.choice(LIFECYCLE, 4000), strict=True)))
    kinds = transitions(old, new).groupby("kind", observed=False)["orders"].sum()
    assert kinds.sum() == 5000
    assert kinds[["new", "vanished"]].tolist() == [1000, 1000]


@pytest.mark.parametrize("wrong", ["yesterday", ""])
def test_an_invalid_moment_is_reported(wrong):
    with pytest.raises(ValueError, match="fetched_at"):
        transitions(orders({"a": "open"}, wrong), orders({"a": "open"}))
