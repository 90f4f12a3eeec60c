"""Time that passes in a sandbox: what changes, how it is dated, and what stays."""

import threading
from collections import Counter
from datetime import datetime, timedelta

import pytest
from helpers import documented_orders
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from trackstar_frames.sandbox import Changes, Sandbox

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IN_PROGRESS = {"open", "confirmed", "processing", "picked", "packed", "partially_fulfilled"}
PROBLEMS = {"backordered", "exception", "other"}
DONE = {"fulfilled", "cancelled"}


def by_id(sandbox, token=0):
    return {order["id"]: order for order in sandbox.orders_of(token)}


def text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def number_of(order):
    return int("".join(filter(str.isdigit, order["order_number"])))


class Step:
    """A sandbox's orders before and after a call of `advance`, and what it returned."""

    def __init__(self, sandbox, hours=24.0, token=0, **options):
        self.before, self.old = sandbox.now_of(token), by_id(sandbox, token)
        self.changes = sandbox.advance(hours, token=token, **options)
        self.now, self.all = sandbox.now_of(token), by_id(sandbox, token)

    def of(self, ids):
        return [(self.old[key], self.all[key]) for key in ids]

    def check(self):
        """Assert that what was returned is what happened, and that all of it is well dated."""
        old, new, changes = self.old, self.all, self.changes
        changed = [key for key, order in new.items() if key in old and old[key] != order]
        assert sorted(changes.changed) == sorted(changed)
        assert [*new] == [*old, *changes.new]
        assert set(changes.cancelled) | set(changes.redated) <= set(changed)
        for key in (*changed, *changes.new):
            self._check_dates(new[key], late=key in changes.late)
        for before, after in self.of(changed):
            assert before["created_date"] == after["created_date"]
            assert before["updated_date"] < after["updated_date"]

    def _check_dates(self, order, *, late):
        before, now = text(self.before), text(self.now)
        assert order["created_date"] <= order["updated_date"] <= now
        assert late == (order["updated_date"] <= before)
        if late:
            assert order["updated_date"] <= text(self.before - HOUR)
        if "trackstar_updated_date" in order:
            assert before < order["trackstar_updated_date"] <= now
            assert order["updated_date"] <= order["trackstar_updated_date"]
            assert order["trackstar_created_date"] <= order["trackstar_updated_date"]


@pytest.fixture(scope="module")
def steps(now):
    """Two days of a sandbox that has some 170 orders a day."""
    with Sandbox(5000, seed=3, days=30, now=now, rate_limit=None) as sandbox:
        first = Step(sandbox)
        return first, Step(sandbox)


@pytest.fixture(scope="module")
def statuses(steps):
    """What became of the orders that changed: pairs of statuses, counted."""
    pairs = [pair for each in steps for pair in each.of(each.changes.changed)]
    return Counter((before["status"], after["status"]) for before, after in pairs)


def test_changes_are_reported_and_dated_correctly(steps):
    for each in steps:
        each.check()
        assert each.now == each.before + DAY
        assert all(each.changes)


def test_orders_stay_as_documented_and_agree_with_themselves(steps):
    for each in steps:
        documented_orders.check([*each.all.values()], each.now)


def test_new_orders_continue_the_old_ones(steps):
    for each in steps:
        late = set(each.changes.late)
        fresh = [each.all[key] for key in each.changes.new]
        numbers = sorted(map(number_of, fresh))
        first = 1 + max(map(number_of, each.old.values()))
        assert numbers == list(range(first, first + len(fresh)))
        for order in fresh:
            assert (order["created_date"] > text(each.before)) == (order["id"] not in late)
            assert order["trackstar_created_date"] > text(each.before)
        customers = {order["warehouse_customer_id"] for order in each.old.values()}
        assert {order["warehouse_customer_id"] for order in fresh} <= customers


def test_new_orders_come_at_the_pace_of_the_old_ones(steps):
    for each in steps:
        assert abs(len(each.changes.new) - 5000 / 30) <= 2
    with Sandbox(600, days=30) as sandbox:
        hourly = [len(sandbox.advance(1).new) for _ in range(48)]
    assert abs(sum(hourly) - 2 * 600 / 30) < 15
    assert max(hourly) <= 2


def test_orders_move_to_later_stages_and_are_shipped(statuses):
    ahead = sum(count for (_, after), count in statuses.items() if after == "fulfilled")
    assert ahead > statuses.total() / 2
    stages = ["open", "confirmed", "processing", "picked", "packed"]
    moves = [pair for pair in statuses if set(pair) <= set(stages)]
    assert len(moves) > 5
    assert all(stages.index(before) <= stages.index(after) for before, after in moves)
    assert ("partially_fulfilled", "fulfilled") in statuses


def test_some_orders_have_problems_for_a_while(statuses):
    assert any(before in IN_PROGRESS and after in PROBLEMS for before, after in statuses)
    assert any(before in PROBLEMS and after in IN_PROGRESS for before, after in statuses)


def test_fulfilled_and_cancelled_orders_stay_so(statuses):
    assert all(before == after for before, after in statuses if before in DONE)
    assert sum(statuses[status, status] for status in DONE) > 5


def test_a_few_are_cancelled_and_a_few_get_another_date(steps):
    for each in steps:
        changed, cancelled, redated = map(len, each.changes[1:4])
        assert 0.005 < cancelled / changed < 0.1
        assert 0.005 < redated / changed < 0.1
        for key in each.changes.cancelled:
            assert each.old[key]["status"] != each.all[key]["status"] == "cancelled"
        moved = {k for k in each.changes.changed if _due(each.old[k]) != _due(each.all[k])}
        assert moved == set(each.changes.redated)
        assert all(_due(each.old[key]) < _due(each.all[key]) for key in moved)
        assert all(_due(each.old[key])[10:] == _due(each.all[key])[10:] for key in moved)


def _due(order):
    return order["required_ship_date"]


def test_most_of_what_changes_is_recent(steps):
    for each in steps:
        created = [before["created_date"] for before, _ in each.of(each.changes.changed)]
        recent = [date for date in created if date > text(each.before - 7 * DAY)]
        assert 0.7 < len(recent) / len(created) < 1


def test_shipments_that_waited_are_the_ones_that_leave(steps):
    waited = 0
    for each in steps:
        for before, after in each.of(each.changes.changed):
            assert [shipment["shipment_id"] for shipment in before["shipments"]] == [
                shipment["shipment_id"]
                for shipment in after["shipments"][: len(before["shipments"])]
            ]
            for was, shipment in zip(before["shipments"], after["shipments"], strict=False):
                waited += was["shipped_date"] is None is not shipment["shipped_date"]
                assert was["line_items"] == shipment["line_items"]
                assert was["shipped_date"] in (None, shipment["shipped_date"])
    assert waited > 20


def test_shipments_leave_within_the_hours_unless_they_are_late(steps):
    for each in steps:
        for key in {*each.changes.changed} - {*each.changes.late}:
            before = {shipment["shipped_date"] for shipment in each.old[key]["shipments"]}
            after = {shipment["shipped_date"] for shipment in each.all[key]["shipments"]}
            for date in after - before - {None}:
                assert text(each.before) < date <= text(each.now)


def test_picked_goods_are_marked(steps):
    picked = {"picked", "packed", "partially_fulfilled", "fulfilled"}
    for each in steps:
        for order in each.all.values():
            assert {line["is_picked"] for line in order["line_items"]} == {
                order["status"] in picked
            }


def test_fulfilled_orders_were_shipped_in_full(steps):
    """But for the unit that is now and then missing, as in orders that were made so."""
    for each in steps:
        for key in each.changes.changed:
            order = each.all[key]
            if order["status"] == "fulfilled":
                ordered = sum(line["quantity"] for line in order["line_items"])
                kits, sent = {}, 0
                for number, shipment in enumerate(order["shipments"]):
                    for line in shipment["line_items"]:
                        if line["parent_product_id"] is None:
                            sent += line["quantity"]
                        else:
                            kits[number, line["parent_product_id"]] = line["quantity"]
                assert ordered - 1 <= sent + sum(kits.values()) <= ordered


@pytest.mark.slow
@pytest.mark.parametrize(
    "late", [0.5, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.0, 1.0))]
)
def test_as_many_changes_are_late_as_requested(now, late):
    with Sandbox(3000, days=30, now=now) as sandbox:
        each = Step(sandbox, late=late)
    each.check()
    fresh = len(set(each.changes.new) & set(each.changes.late))
    # An order that changed in the last hour before cannot have changed hours before as well.
    able = [
        before["id"]
        for before, _ in each.of(each.changes.changed)
        if before["updated_date"] < text(each.before - HOUR)
    ]
    old = len(set(able) & set(each.changes.late))
    assert set(each.changes.late) <= {*able, *each.changes.new}
    assert abs(fresh / len(each.changes.new) - late) < 0.15
    assert abs(old / len(able) - late) < 0.15
    lags = [each.before - datetime.fromisoformat(each.all[key]["updated_date"]) for key in able]
    if late:
        assert max(lags) > DAY


def test_filters_use_the_new_values(now, listing):
    with Sandbox(1500, days=20, now=now, rate_limit=None) as sandbox:
        each = Step(sandbox, late=0.2)
        changes = each.changes
        since = {"trackstar_updated_date[gt]": text(each.before)}
        assert _ids(listing(sandbox, since)) == {*changes.new, *changes.changed}
        since = {"updated_date[gt]": text(each.before)}
        in_time = {*changes.new, *changes.changed} - {*changes.late}
        assert _ids(listing(sandbox, since)) == in_time
        assert {*changes.cancelled} <= _ids(listing(sandbox, {"status": "cancelled"}))
        number = each.all[changes.new[0]]["order_number"]
        assert _ids(listing(sandbox, {"order_number": number})) == {changes.new[0]}
        assert listing(sandbox) == sandbox.orders


def _ids(orders):
    return {order["id"] for order in orders}


@pytest.mark.slow
def test_orders_without_the_dates_of_trackstar(now, get, listing):
    dates = ("trackstar_created_date", "trackstar_updated_date")
    with Sandbox(1500, days=20, now=now, rate_limit=None) as whole:
        full = [Step(whole) for _ in range(2)][-1]
    with Sandbox(1500, days=20, now=now, rate_limit=None, trackstar_dates=False) as sandbox:
        bare = [Step(sandbox) for _ in range(2)][-1]
        bare.check()
        for name in dates:
            response = get(sandbox, {f"{name}[gte]": text(now)})
            assert response.status_code == 422
            assert response.json()["detail"] == {"query": {f"{name}[gte]": ["Unknown field."]}}
        since = {"updated_date[gt]": text(bare.before)}
        expected = {*bare.changes.new, *bare.changes.changed} - {*bare.changes.late}
        assert _ids(listing(sandbox, since)) == expected
        sandbox.upsert([{"id": "more"} | dict.fromkeys(dates, text(now))])
        assert sandbox.orders[-1] == {"id": "more"}
    assert bare.changes == full.changes
    for order in full.all.values():
        for name in dates:
            del order[name]
    assert bare.all == full.all
    with pytest.raises(AssertionError):
        documented_orders.check_fields([*bare.all.values()])


def test_given_orders_lose_the_dates_of_trackstar_too():
    order = {"id": "1", "trackstar_created_date": "2026-01-01T00:00:00Z"}
    with Sandbox([order], trackstar_dates=False) as sandbox:
        assert sandbox.orders == [{"id": "1"}]


@pytest.mark.slow
def test_the_same_calls_give_the_same_orders(now):
    def run(*calls, seed=5):
        with Sandbox(800, seed=seed, days=20, now=now) as sandbox:
            changes = [sandbox.advance(**call) for call in calls]
            return changes, sandbox.orders

    calls = [{}, {"hours": 3, "new": 7}, {"late": 0.5, "seed": 4}]
    assert run(*calls) == run(*calls)
    assert run(*calls)[1] != run(*calls, seed=6)[1]
    assert run({})[0] != run({"seed": 1})[0]
    assert run({})[0] == run({"seed": 5})[0]


def test_starting_again_begins_again(now):
    sandbox = Sandbox(300, now=now)
    with sandbox:
        first = sandbox.advance()
        assert sandbox.now_of() == now + DAY
    with sandbox:
        assert sandbox.now_of() == now
        assert sandbox.advance() == first


def test_other_tokens_stay_as_they_are(now):
    with Sandbox(300, tokens=3, now=now) as sandbox:
        before = [sandbox.orders_of(token) for token in range(3)]
        sandbox.advance(token=1)
        assert [sandbox.orders_of(token) == before[token] for token in range(3)] == [1, 0, 1]
        assert [sandbox.now_of(token) for token in range(3)] == [now, now + DAY, now]
        ours, theirs = sandbox.advance(token=0), sandbox.advance(token=2)
        assert not set(ours.new) & set(theirs.new)


@pytest.mark.slow
def test_hours_one_by_one_are_as_good_as_a_day(now):
    with Sandbox(1500, days=10, now=now) as sandbox:
        for _ in range(24):
            sandbox.advance(1)
        slow = sandbox.orders
    with Sandbox(1500, days=10, now=now) as sandbox:
        sandbox.advance(24)
        fast = sandbox.orders
    documented_orders.check(slow, now + DAY)
    documented_orders.check(fast, now + DAY)
    waiting = [sum(order["status"] not in DONE for order in orders) for orders in (slow, fast)]
    assert 0.6 < waiting[0] / waiting[1] < 1.6


@pytest.mark.slow
def test_weeks_leave_the_backlog_as_large_as_it_was(now):
    with Sandbox(3000, days=30, now=now) as sandbox:
        before = sum(order["status"] not in DONE for order in sandbox.orders)
        for _ in range(21):
            sandbox.advance()
        orders = sandbox.orders
    documented_orders.check(orders, now + 21 * DAY)
    assert 0.5 < sum(order["status"] not in DONE for order in orders) / before < 1.6
    assert len(orders) > 5000 - 50


def test_given_orders_do_not_change():
    orders = [{"id": "1", "status": "open"}]
    with Sandbox(orders) as sandbox:
        with pytest.raises(RuntimeError, match="given its orders; change them with upsert"):
            sandbox.advance()
        assert sandbox.orders == orders


def test_orders_that_were_upserted_do_not_change(now):
    with Sandbox(60, days=3, now=now) as sandbox:
        mine = [{"id": "1", "status": "open", "line_items": "none"}, {"status": "fulfilled"}]
        edited = [each | {"status": "open", "shipments": 7} for each in sandbox.orders[:30]]
        sandbox.upsert([*mine, *edited])
        before = sandbox.orders
        changed = {key for _ in range(20) for key in sandbox.advance(24, new=5).changed}
        after = sandbox.orders
    assert len(changed) > 30
    assert after[:30] == edited
    assert after[60:62] == mine
    assert before[30:60] != after[30:60]


@pytest.mark.slow
def test_odd_orders_change_as_well(now, listing):
    with Sandbox(1000, odd=1.0, days=15, now=now, rate_limit=None) as sandbox:
        for _ in range(3):
            changes = sandbox.advance()
            assert min(len(changes.new), len(changes.changed)) > 40
        assert listing(sandbox) == sandbox.orders
        assert any("fulfillment_priority" in by_id(sandbox)[key] for key in changes.new)


def test_an_empty_sandbox_may_fill():
    with Sandbox(0) as sandbox:
        assert sandbox.advance() == Changes([], [], [], [], [])
        changes = sandbox.advance(new=3)
        assert [order["id"] for order in sandbox.orders] == changes.new
        assert sorted(map(number_of, sandbox.orders)) == [10_000, 10_001, 10_002]


@pytest.mark.slow
def test_a_reader_sees_the_orders_from_before_or_from_after(now, listing):
    with Sandbox(700, days=10, now=now, rate_limit=None) as sandbox:
        states, seen = [sandbox.orders], []
        thread = threading.Thread(target=lambda: [_advance(sandbox, states) for _ in range(4)])
        thread.start()
        while thread.is_alive():
            seen.append(listing(sandbox))
        thread.join()
        assert seen
        assert all(orders in states for orders in seen)


def _advance(sandbox, states):
    sandbox.advance(new=20)
    states.append(sandbox.orders)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hours": 0}, "hours=0 is not between 0.01 and 10000"),
        ({"hours": -1}, "hours=-1"),
        ({"hours": float("nan")}, "hours=nan"),
        ({"hours": float("inf")}, "hours=inf"),
        ({"new": -1}, "new=-1"),
        ({"new": 2.5}, "new=2.5 is not a whole number"),
        ({"late": 1.5}, "late=1.5 is not between 0 and 1"),
        ({"seed": "a"}, "seed='a' is not a whole number"),
        ({"token": 1}, "token=1 is not between 0 and 0"),
        ({"token": -1}, "token=-1"),
        ({"token": 0.0}, "token=0.0"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with Sandbox(5) as sandbox:
        before = sandbox.orders
        with pytest.raises(ValueError, match=message):
            sandbox.advance(**arguments)
        assert sandbox.orders == before


def test_a_stopped_sandbox_does_not_advance():
    with pytest.raises(RuntimeError, match="not running"):
        Sandbox(5).advance()


class AnyCalls(RuleBasedStateMachine):
    """Any calls, in any order: every order stays true, and none is named twice."""

    def __init__(self, now):
        super().__init__()
        self.documented, self.start = documented_orders, now
        self.sandbox, self.given = None, set()

    @initialize(orders=st.sampled_from([0, 1, 60]), days=st.sampled_from([1, 4]))
    def begin(self, orders, days):
        self.sandbox = Sandbox(orders, days=days, tokens=2, now=self.start).start()
        self.given = {key for token in range(2) for key in by_id(self.sandbox, token)}

    @rule(
        hours=st.floats(0.01, 200),
        new=st.none() | st.integers(0, 12),
        late=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
        seed=st.none() | st.integers(0, 3),
        token=st.integers(0, 1),
    )
    def advance(self, hours, new, late, seed, token):
        other = self.sandbox.orders_of(1 - token)
        step = Step(self.sandbox, hours, token, new=new, late=late, seed=seed)
        step.check()
        self.documented.check([*step.all.values()], step.now)
        assert self.sandbox.orders_of(1 - token) == other
        assert new in (None, len(step.changes.new))
        assert not self.given & set(step.changes.new)
        self.given |= set(step.changes.new)
        assert len(step.all) == len(self.sandbox.orders_of(token))

    @rule(place=st.integers(0, 10**6), token=st.integers(0, 1))
    def delete(self, place, token):
        ids = [*by_id(self.sandbox, token)]
        self.sandbox.delete(ids[place % len(ids) :][:1] if ids else [], token)

    def teardown(self):
        if self.sandbox is not None:
            self.sandbox.stop()


@pytest.mark.slow
def test_any_sequence_of_calls_keeps_orders_consistent(now):
    run_state_machine_as_test(lambda: AnyCalls(now), settings=settings(stateful_step_count=6))
