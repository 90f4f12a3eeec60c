"""Any sequence of changes and syncs, by any clock: the newest snapshot is what the server holds."""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox
from trackstar_frames.snapshots import spill, writer

OURS, THEIRS = "trackstar_updated_date", "updated_date"
STAMPS = {"both": (OURS, THEIRS), "ours": (OURS,), "theirs": (THEIRS,), "neither": ()}
KINDS = st.sampled_from(sorted(STAMPS))
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


def as_json(order):
    """Tell what an order says: a column that is null is as good as absent, an unknown key not."""
    return {key: value for key, value in order.items() if value is not None or key == UNKNOWN}


class Synced(RuleBasedStateMachine):
    """A server whose orders change, and a root that is kept in sync with it.

    Its stamps are by its own clock. Ours is any, and jumps between calls; an order may say that
    it is of the far future.
    """

    @initialize(
        kinds=st.lists(KINDS, min_size=1, max_size=3),
        orders=st.one_of(st.just(0), st.integers(2, 40)),
        part=st.integers(3, 15),
        breaks=st.sampled_from([None, None, 3, 4]),
    )
    def begin(self, kinds, orders, part, breaks):
        self.clock, self.kinds, self.numbers = JULY + timedelta(days=31), kinds, 0
        self.patch = pytest.MonkeyPatch()
        self.ahead, real = 0.0, time.time
        self.patch.setattr(time, "time", lambda: real() + self.ahead)
        self.patch.setattr(writer, "PART_SIZE", part)
        self.patch.setattr(spill, "_RUN_SIZE", 9)
        self.patch.setattr(spill, "_BLOCK_SIZE", 4)
        faults = [Fault("status", status=503, every=breaks)] if breaks else []
        first = [self.make(stamp(self.clock, -(n % 30))) for n in range(orders)]
        self.sandbox = Sandbox(orders=first, rate_limit=None, faults=faults).start()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name) / "root"
        self.jumps, self.odd = 0, None
        self.connect()
        self.snapshot, self.synced, self.is_true = None, {}, False
        self.sync(page_size=25)

    def connect(self):
        """Make a client with a cache that is empty: by a clock that jumped, its pages are new."""
        self.jumps += 1
        cache = Path(self.folder.name) / f"cache{self.jumps}"
        self.client = self.sandbox.client(
            rate_limit=None, retries=0, cache_dir=cache, connection="acme"
        )

    def make(self, created=None, kind=None):
        self.numbers += 1
        kind = kind or self.kind_of(self.numbers)
        if kind == "neither":
            # It is known by when it was created alone, later than all others.
            created = stamp(JULY + timedelta(minutes=self.numbers), 60)
        order = {"id": f"o{self.numbers}", "created_date": created, "status": "open"}
        return self.stamped(order | {"line_items": [], "shipments": []}, kind)

    def kind_of(self, number):
        return self.kinds[number % len(self.kinds)]

    def stamped(self, order, kind=None):
        """Give an order the stamps of now, of its kind or as orders like it have them."""
        stamps = STAMPS[kind or self.kind_of(int(order["id"][1:]))]
        bare = {name: value for name, value in order.items() if name not in (OURS, THEIRS)}
        return bare | dict.fromkeys(stamps, stamp(self.clock))

    def at(self, index):
        known = [order for order in self.sandbox.orders if "id" in order]
        return known[index % len(known)]

    def upsert(self, *orders):
        self.sandbox.upsert(orders)
        self.is_true = False

    def has_orders(self):
        return any("id" in order for order in self.sandbox.orders)

    @rule(minutes=st.integers(0, 200))
    def time_goes_by(self, minutes):
        self.clock += timedelta(minutes=minutes)

    @rule(days=st.sampled_from([0, 0, 1, 400, -1, -400]))
    def our_clock_jumps(self, days):
        self.ahead = 86400.0 * days
        self.connect()

    @rule(created=st.lists(CREATED, min_size=1, max_size=12))
    def orders_come(self, created):
        self.upsert(*(self.make(each) for each in created))

    @rule(kind=KINDS)
    def an_order_of_any_kind_comes(self, kind):
        self.upsert(self.make(stamp(self.clock), kind))

    @rule(index=PLACES, kind=st.sampled_from(["both", "ours", "theirs"]))
    @precondition(has_orders)
    def an_order_comes_to_have_other_stamps(self, index, kind):
        self.upsert(self.stamped(self.at(index), kind))

    @rule(name=st.sampled_from([OURS, THEIRS, "created_date"]))
    def an_order_of_the_far_future_comes(self, name):
        self.upsert(self.make(stamp(self.clock), "both") | {name: "2999-01-01T00:00:00Z"})

    @precondition(lambda self: self.odd is None)
    @rule(names=st.sampled_from([(OURS,), (THEIRS,), (OURS, THEIRS)]), hours=st.integers(1, 60))
    def one_order_is_ahead_of_the_others(self, names, hours):
        """Where our clock is ahead too, and so the server's, nothing else shows that it is odd."""
        self.odd = self.make(stamp(self.clock), "both")
        self.upsert(self.odd | dict.fromkeys(names, stamp(self.clock + timedelta(hours=hours))))
        self.sync(page_size=25)

    @precondition(has_orders)
    @rule(changes=st.lists(st.tuples(PLACES, CHANGES), min_size=1, max_size=5))
    def orders_change(self, changes):
        for index, change in changes:
            old = self.at(index)
            kind, stays = self.kind_of(int(old["id"][1:])), {}
            if kind == "neither":
                # No stamp would show that it lost those that it had, nor where it moved to.
                kind = "both" if OURS in old or THEIRS in old else kind
                stays = {"created_date": old["created_date"]}
            self.upsert(self.stamped(old | change | stays, kind))

    @precondition(lambda self: self.has_orders() and not {"theirs", "neither"} & {*self.kinds})
    @rule(index=PLACES, change=CHANGES, is_new=st.booleans())
    def an_order_arrives_late(self, index, change, is_new):
        order = self.stamped((self.make() if is_new else self.at(index)) | change)
        late = {THEIRS: "2019-01-01T00:00:00Z"} if OURS in order else {}
        self.upsert(order | late)

    @rule()
    def an_order_without_an_id_comes(self):
        self.numbers += 1
        stamps = dict.fromkeys((OURS, THEIRS), stamp(self.clock))
        self.upsert({"name": f"n{self.numbers}"} | stamps)

    @rule(latest=st.integers(1, 3))
    def old_ones_are_removed(self, latest):
        tf.prune_snapshots(self.root, keep_last=latest, keep_daily=0, keep_weekly=0, keep_monthly=0)

    @precondition(has_orders)
    @rule(index=PLACES)
    def an_order_is_deleted_and_all_are_asked_for(self, index):
        self.sandbox.delete([self.at(index)["id"]])
        self.snapshot = self.until_done(
            tf.sync_orders, self.root, client=self.client, overlap=0, full_every=0
        )
        self.synced, self.is_true = self.orders_now(), True

    @rule(page_size=st.sampled_from([4, 25, 1000]))
    def sync(self, page_size):
        self.snapshot = self.until_done(
            tf.sync_orders, self.root, client=self.client, page_size=page_size, overlap=0
        )
        now = self.orders_now()
        sync = self.snapshot.info["sync"]
        assert sync["new"] == len(now.keys() - self.synced.keys())
        both = now.keys() & self.synced.keys()
        changed = [key for key in both if as_json(now[key]) != as_json(self.synced[key])]
        assert sync["changed"] == len(changed)
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
        if not hasattr(self, "snapshot"):
            return
        try:  # whatever was done last, the next sync sees it
            self.sync(page_size=25)
            self.the_newest_snapshot_is_the_truth()
        finally:
            self.client.close()
            self.sandbox.stop()
            self.folder.cleanup()
            self.patch.undo()


IS_SLOW = settings().max_examples > settings.get_profile("everyday").max_examples
TestSynced = Synced.TestCase
TestSynced.settings = settings(
    max_examples=25 if IS_SLOW else 3, stateful_step_count=15 if IS_SLOW else 7
)
