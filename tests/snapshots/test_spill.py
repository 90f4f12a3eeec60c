"""Batches on disk: read back part by part, they are what memory would have made of them."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trackstar_frames.flatten import Flattener
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots import spill
from trackstar_frames.snapshots.spill import Spill
from trackstar_frames.tables.assemble import assemble

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAYS = [None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "2026-03-01T00:00:00Z"]
IDS = [None, "", *"aäbcdefgh", "\U0001f4e6"]


def order(number, key, created=None, updated=None, lines=1):
    """Make an order that tells by its line items which one it is."""
    made = {"created_date": created, "updated_date": updated, "total_price": f"odd {number}"}
    made["line_items"] = [{"sku": f"{number}/{line}"} for line in range(lines)]
    made["shipments"] = [{"packages": [{"shipping_cost": number}]}] * (lines % 2)
    return made if key is None else made | {"id": key}


def flatten(pages, piece):
    """Flatten pages, each in pieces of so many orders, as odd ones are."""
    with Flattener() as flattener:
        return [
            [
                batch
                for start in range(0, max(1, len(page)), piece)
                for batch in flattener.add(as_raw(page[start : start + piece])).result()
            ]
            for page in pages
        ]


def as_raw(orders):
    return [msgspec.Raw(json.dumps(each).encode()) for each in orders]


def expected(batches, ranks, repeats):
    in_order = sorted(range(len(ranks)), key=lambda number: ranks[number])
    found = [(dict(batch), repeats[number]) for number in in_order for batch in batches[number]]
    return assemble([batch for batch, _ in found], repeats=[again for _, again in found])


def parts_of(spilled, size):
    return [assemble(batches, kept)[0] for batches, kept in spilled.spans(spilled.cuts(size))]


def assert_same(parts, tables):
    for name in TABLES:
        joined = pa.concat_tables([part[name] for part in parts])
        assert joined.equals(tables[name]), name


ORDERS = st.tuples(
    st.sampled_from(IDS), st.sampled_from(DAYS), st.sampled_from(DAYS), st.integers(0, 2)
)


@st.composite
def listings(draw):
    pages = draw(st.lists(st.lists(ORDERS, max_size=12), max_size=6))
    numbers = iter(range(1000))
    pages = [[order(next(numbers), *each) for each in page] for page in pages]
    again = draw(st.sets(st.sampled_from(range(6)), max_size=3))
    ranks = draw(st.permutations(range(len(pages))))
    return pages, list(ranks), [position in again for position in range(len(pages))]


#: Orders of a piece, of a run, of a block and of a part; and on how many threads they come.
SHAPES = st.tuples(
    st.integers(1, 12), st.integers(1, 20), st.integers(1, 5), st.integers(1, 15), st.integers(1, 4)
)

TWICE_ON_A_PAGE = [[order(0, "a", DAYS[3]), order(1, "a", DAYS[1])]]
FULL_RUN_AND_STRAY = [[order(0, "a", DAYS[1]), order(1, None)], [order(2, "b", DAYS[3])]]
STRAYS = [[order(0, None)], [order(1, None)], [order(2, None), order(3, "a")]]


@given(listing=listings(), shape=SHAPES)
@example(listing=(TWICE_ON_A_PAGE, [0], [False]), shape=(5, 5, 5, 5, 1))
@example(listing=(TWICE_ON_A_PAGE, [0], [False]), shape=(1, 1, 1, 1, 1))
@example(listing=(FULL_RUN_AND_STRAY, [0, 1], [False, False]), shape=(5, 1, 1, 1, 1))
@example(listing=(STRAYS, [1, 0, 2], [False, False, True]), shape=(5, 1, 1, 1, 1))
@example(listing=([], [], []), shape=(1, 1, 1, 1, 1))
def test_its_parts_are_what_memory_makes_of_the_same_pages(tmp_path_factory, listing, shape):
    (pages, *marks), (piece, run, block, size, threads) = listing, shape
    batches = flatten(pages, piece)
    tables, dropped = expected(batches, *marks)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(threads) as pool:
        patch.setattr(spill, "_RUN_SIZE", run)
        patch.setattr(spill, "_BLOCK_SIZE", block)
        spilled = Spill(tmp_path_factory.mktemp("spill"))
        list(pool.map(lambda page: add(spilled, batches[page], page), range(len(pages))))
        assert spilled.deduplicate(*marks) == dropped
        parts = parts_of(spilled, size)
    assert_same(parts, tables)
    assert spilled.orders == len(tables["orders"])
    assert sorted(spilled.ids().to_pylist()) == sorted(tables["orders"]["id"].to_pylist())
    assert [len(part["orders"]) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert len(parts[-1]["orders"]) <= size


def add(spilled, batches, page):
    for batch in batches:
        spilled.add(dict(batch), page)


@pytest.mark.slow
@given(
    listing=listings(), firsts=st.lists(st.tuples(st.sampled_from([*DAYS[1:], None]), st.text()))
)
def test_it_is_cut_at_any_keys(tmp_path_factory, listing, firsts):
    pages, *marks = listing
    keys = sorted({key_of(*each) for each in firsts}, key=in_sequence)
    spilled = Spill(tmp_path_factory.mktemp("spill"))
    batches = flatten(pages, 5)
    for page, each in enumerate(batches):
        add(spilled, each, page)
    spilled.deduplicate(*marks)
    parts = [assemble(*each)[0] for each in spilled.spans(keys)]
    assert_same(parts, expected(batches, *marks)[0])
    for part, first, end in zip(parts, [None, *keys], [*keys, None], strict=True):
        orders = part["orders"].select(["created_date", "id"]).to_pylist()
        found = [in_sequence(key_of(each["created_date"], each["id"])) for each in orders]
        assert first is None or all(key >= in_sequence(first) for key in found)
        assert end is None or all(key < in_sequence(end) for key in found)


def key_of(created, key):
    moment = datetime.fromisoformat(created) if isinstance(created, str) else created
    return (None if moment is None else (moment - EPOCH) // timedelta(microseconds=1), key)


def in_sequence(key):
    return (key[0] is None, key[0] or 0, key[1])
