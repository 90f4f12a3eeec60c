"""Any sequence of changes and syncs: the newest snapshot is what the server holds."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import trackstar_frames as tf
from trackstar_frames.disk import parquet, runs, spill
from trackstar_frames.sandbox import Fault, Sandbox

OURS, THEIRS = "trackstar_updated_date", "updated_date"
STAMPS = {"ours": (OURS, THEIRS), "theirs": (THEIRS,), "neither": ()}
JULY = datetime(2026, 7, 1, tzinfo=UTC)
CREATED = st.none() | st.integers(0, 40).map(lambda days: stamp(JULY, days))
UNKNOWN = "never heard of"
WORDS = st.sampled_from(["a", "b", "ä"])
LINES = st.lists(st.fixed_dictionaries({"sku": WORDS, "quantity": st.integers(0, 3)}), max_size=3)
PACKAGES = st.lists(st.fixed_dictionaries({"tracking_number": WORDS}), max_size=2)
SHIPMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["open", "shipped", "cancelled"]),
            "shipped_date": CREATED,
            "line_items": LINES,
            "packages": PACKAGES,
        }
    ),
    max_size=2,
)
FIELDS = {
    "created_date": CREATED,
    "status": st.sampled_from(["open", "packed", "fulfilled", "cancelled", "unheard of"]),
    "line_items": LINES,
    "shipments": SHIPMENTS,
    "tags": st.none() | st.lists(st.none() | WORDS, max_size=2),
    "total_price": st.none() | st.integers(0, 3) | WORDS,
    "ship_to_address": st.fixed_dictionaries({"city": WORDS}),
    UNKNOWN: st.none() | WORDS,
}
CHANGES = st.fixed_dictionaries({}, optional=FIELDS)
PLACES = st.integers(0, 10_000)


def stamp(moment, days=0):
    return (moment + timedelta(days=days)).isoformat()


def said(order):
    """Tell what an order says: a column that is null is as good as absent, an unknown key not."""
    return {key: value for key, value in order.items() if value is not None or key == UNKNOWN}


class Synced(RuleBasedStateMachine):
    """A server whose orders change, and a root that is kept in sync with it."""

    @initialize(
        kinds=st.sampled_from([["ours"], ["theirs"], ["ours", "theirs"], ["ours", "neither"]]),
        orders=st.integers(2, 40),
        part=st.integers(3, 15),
        breaks=st.sampled_from([None, None, 3, 4]),
    )
    def begin(self, kinds, orders, part, breaks):
        self.clock, self.kinds, self.numbers = JULY + timedelta(days=31), kinds, 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(parquet, "PART", part)
        self.patch.setattr(spill, "_RUN", 9)
        self.patch.setattr(runs, "_BLOCK", 4)
        faults = [Fault("status", status=503, every=breaks)] if breaks else []
        first = [self.make(stamp(self.clock, -(n % 30))) for n in range(orders)]
        self.sandbox = Sandbox(orders=first, rate_limit=None, faults=faults).start()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name) / "root"
        cache = Path(self.folder.name) / "cache"
        self.client = self.sandbox.client(rate_limit=None, retries=0, cache_dir=cache)
        self.snapshot, self.synced, self.is_true = None, {}, False

    def make(self, created=None):
        self.numbers += 1
        order = {"id": f"o{self.numbers}", "created_date": created, "status": "open"}
        return self.stamped(order | {"line_items": [], "shipments": []})

    def stamped(self, order, **more):
        """Give an order the stamps of now that orders like it have."""
        number = int(order["id"][1:])
        stamps = STAMPS[self.kinds[number % len(self.kinds)]]
        return order | dict.fromkeys(stamps, stamp(self.clock)) | more

    def at(self, place):
        known = [order for order in self.sandbox.orders if "id" in order]
        return known[place % len(known)]

    def upsert(self, *orders):
        self.sandbox.upsert(orders)
        self.is_true = False

    @rule(minutes=st.integers(0, 200))
    def time_goes_by(self, minutes):
        self.clock += timedelta(minutes=minutes)

    @rule(created=st.lists(CREATED, min_size=1, max_size=12))
    def orders_come(self, created):
        self.upsert(*(self.make(each) for each in created))

    @rule(changes=st.lists(st.tuples(PLACES, CHANGES), min_size=1, max_size=5))
    def orders_change(self, changes):
        for place, change in changes:
            self.upsert(self.stamped(self.at(place) | change))

    @precondition(lambda self: "theirs" not in self.kinds)
    @rule(place=PLACES, change=CHANGES, is_new=st.booleans())
    def an_order_arrives_late(self, place, change, is_new):
        order = self.stamped((self.make() if is_new else self.at(place)) | change)
        late = {THEIRS: "2019-01-01T00:00:00Z"} if OURS in order else {}
        self.upsert(order | late)

    @rule()
    def an_order_without_an_id_comes(self):
        self.numbers += 1
        stamps = dict.fromkeys((OURS, THEIRS), stamp(self.clock))
        self.upsert({"name": f"n{self.numbers}"} | stamps)

    @rule(page_size=st.sampled_from([4, 25, 1000]))
    def sync(self, page_size):
        self.snapshot = self.until_done(
            tf.sync_orders, self.root, client=self.client, page_size=page_size, overlap=0
        )
        now = self.orders_now()
        told = self.snapshot.info["sync"]
        assert told["new"] == len(now.keys() - self.synced.keys())
        both = now.keys() & self.synced.keys()
        changed = [key for key in both if said(now[key]) != said(self.synced[key])]
        assert told["changed"] == len(changed)
        self.synced, self.is_true = now, True

    @rule()
    def export(self):
        self.snapshot = self.until_done(
            tf.export_orders, self.root, client=self.client, page_size=9
        )
        self.synced, self.is_true = self.orders_now(), True

    def orders_now(self):
        return {order["id"]: order for order in self.sandbox.orders if "id" in order}

    @staticmethod
    def until_done(do, *given, **options):
        for _ in range(60):
            try:
                return do(*given, **options)
            except (tf.IncompleteFetchError, tf.ServerError):
                continue
        raise AssertionError("it does not go on")

    @invariant()
    def the_newest_snapshot_is_the_truth(self):
        if self.is_true:
            page = msgspec.json.encode({"data": self.sandbox.orders, "next_token": None})
            held = tf.read_snapshot(self.root)
            assert held.info == self.snapshot.info
            for name, table in tf.OrderFrames.from_json(page).to_arrow().items():
                assert held.to_arrow()[name].equals(table), name
            assert not [each for each in self.root.iterdir() if each.name.startswith(".")]

    def teardown(self):
        if hasattr(self, "sandbox"):
            self.client.close()
            self.sandbox.stop()
            self.folder.cleanup()
            self.patch.undo()


IS_SLOW = settings().max_examples > settings.get_profile("everyday").max_examples
TestSynced = Synced.TestCase
TestSynced.settings = settings(
    max_examples=25 if IS_SLOW else 5, stateful_step_count=15 if IS_SLOW else 8
)
