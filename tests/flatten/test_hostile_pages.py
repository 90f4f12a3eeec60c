"""Pages that mean harm: none, equal, huge, or odd all over; and what is learned from them."""

import json

import msgspec
import pyarrow as pa
import pytest
from helpers.servers import reply

from trackstar_frames import IncompleteFetchError, OrderFrames, ResponseError, fetch_orders
from trackstar_frames.client import TrackstarClient
from trackstar_frames.flatten import SMALL_BATCH, Experience, Flattener
from trackstar_frames.flatten.layout import Layout
from trackstar_frames.tables.assemble import _take

LONG = "x" * 10_000_000

PLAIN = [f'{{"id":"plain-{i}","line_items":[{{"sku":"S","quantity":2}}]}}' for i in range(40)]


def body(*orders):
    return f'{{"data":[{",".join(orders)}],"next_token":null}}'


def rows(frames, table):
    return frames.to_arrow()[table].to_pylist()


@pytest.mark.parametrize("number", [0, 1])
def test_pages_of_no_and_of_one_order(number):
    frames = OrderFrames.from_json(body(*PLAIN[:number]))
    assert (len(frames.orders), len(frames.line_items)) == (number, number)


def test_a_page_of_equal_ids_is_one_order():
    orders = [f'{{"id":"a","reference_id":"{i}","line_items":[{{}}]}}' for i in range(1000)]
    frames = OrderFrames.from_json(body(*orders))
    assert [row["reference_id"] for row in rows(frames, "orders")] == ["999"]
    assert len(frames.line_items) == 1
    assert frames.info["duplicates"] == 999


@pytest.mark.parametrize("given", ["orders", "order", "page"])
def test_how_many_are_given_at_a_time_changes_nothing(given):
    orders = [
        *PLAIN,
        '{"id":"odd","line_items":{"a":1}}',
        *(f'{{"id":"{i}"}}' for i in range(1200)),
    ]
    cut = {"orders": body(*orders), "order": orders, "page": [body(*orders[:7]), *orders[7:]]}
    expected = OrderFrames.from_json(f"[{','.join(orders)}]").to_arrow()
    assert OrderFrames.from_json(cut[given]).to_arrow() == expected


@pytest.mark.slow
def test_an_order_of_three_hundred_thousand_lines():
    for odd in ("2", '"2"'):
        lines = ",".join(['{"sku":"S","quantity":2}'] * 299_999 + [f'{{"quantity":{odd}}}'])
        frames = OrderFrames.from_json(body(f'{{"id":"a","line_items":[{lines}]}}'))
        assert frames.orders["units_ordered"].tolist() == [600_000]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string())])
def test_a_column_may_hold_more_than_two_gibibytes(kind):
    value = LONG if pa.types.is_string(kind) else [LONG]
    chunk = pa.array([value], kind)
    end = pa.array([None, "end" if pa.types.is_string(kind) else ["end"]], kind)
    column = pa.chunked_array([chunk] * 220 + [end])
    taken = _take(column, pa.array([*range(220), 221, 220]))
    assert taken.type == kind
    assert taken.slice(219).to_pylist() == [value, *end.to_pylist()[::-1]]
    assert len(taken) == 222


@pytest.mark.parametrize("key", ["data", "next_token"])
def test_a_body_that_gives_its_orders_or_its_cursor_twice_is_refused(key):
    value = {"data": '[{"id":"b"}]', "next_token": '"c"'}[key]
    for more in ("[]", '[{"id":"a"}]'):
        text = f'{{"{key}":{value},"data":{more},"next_token":null}}'
        with pytest.raises(ResponseError, match=f"`{key}` is given 2 times"):
            OrderFrames.from_json(text)


# What is learned.


def raw(number, members):
    return msgspec.Raw(json.dumps({"id": f"{number}", **members}).encode())


def test_of_many_new_keys_few_are_remembered():
    orders = [raw(i, {f"k{i * 20 + j}": j for j in range(20)}) for i in range(1000)]
    with Flattener() as flattener:
        pages = [flattener.add(orders[start : start + 100]) for start in range(0, 1000, 100)]
        batches = [batch for page in pages for batch in page.result()]
    experience = flattener._experience
    assert sum(len(batch["problems"]) for batch in batches) == 20_000
    assert len(experience._odd) <= 1000
    assert experience.layout.extracted == Layout.of_schema().extracted


def test_of_many_keys_that_come_often_so_many_are_learned():
    experience = Experience()
    for start in range(0, 500, 7):
        odd = {("orders", (f"k{(start + i) % 200}",)): 10 for i in range(7)}
        experience.add_careful(7, odd)
    assert len(experience.layout.extracted - Layout.of_schema().extracted) == 50


def test_a_key_of_megabytes_is_not_remembered():
    experience = Experience()
    experience.add_careful(20, {("orders", ("k" * 10_000,)): 20})
    assert experience.layout.extracted == Layout.of_schema().extracted


@pytest.mark.parametrize("page", [1, 10, 100, 1000])
def test_trying_in_vain_comes_to_an_end(page):
    """Where nothing can be read the fast way, few orders are tried again and again."""
    tried, carefully = work(Experience(), pages=100_000 // page, page=page, odd=range(page))
    assert carefully == 100_000
    assert tried < 200_000


def test_trying_continues_where_it_pays():
    """One odd order in a thousand is soon alone, however many pages there are."""
    experience = Experience()
    work(experience, pages=10, page=1000, odd=[700])
    _, carefully = work(experience, pages=100, page=1000, odd=[700])
    assert carefully <= 100 * SMALL_BATCH


def test_after_pages_of_odd_orders_plain_ones_are_soon_read_the_fast_way_again():
    experience = Experience()
    work(experience, pages=100, page=1000, odd=range(1000))
    _, carefully = work(experience, pages=100, page=1000, odd=[])
    assert carefully <= 2000


def work(experience, *, pages, page, odd):
    """Count the orders that are tried, and those read carefully, as `Flattener` does it."""
    tried = carefully = 0

    def read(orders):
        nonlocal tried, carefully
        if experience.has_credit:
            tried += len(orders)
            if not any(each in odd for each in orders):
                experience.add_fast(len(orders))
                return
            experience.add_refused(len(orders))
        if len(orders) > SMALL_BATCH and experience.has_credit:
            read(orders[: len(orders) // 2])
            read(orders[len(orders) // 2 :])
        else:
            carefully += len(orders)
            experience.add_careful(len(orders), {})

    for _ in range(pages):
        read(range(page))
    return tried, carefully


# Over the network.


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ('{"id":"z","new":%s}' % ("[" * 300_000 + "]" * 300_000), "nested too deeply"),
        ('{"id":"z"}],"data":[', "`data` is given 2 times"),
        ('{"id":"z"},7', r"data\[1\] is not an object"),
    ],
)
def test_a_fetch_that_meets_such_a_page_keeps_what_it_has(raw_server, last, error):
    first = body(*PLAIN).replace('"next_token":null', '"next_token":"2"').encode()

    def answer(handler):
        reply(handler, body(last).encode() if "page_token" in handler.path else first)

    client = TrackstarClient("key", "token", base_url=raw_server(answer).base_url, retries=0)
    with pytest.raises(IncompleteFetchError, match=error) as caught:
        fetch_orders(client=client)
    assert len(caught.value.frames.orders) == 40


def test_a_fetch_of_a_lenient_page_loses_nothing(raw_server):
    odd = (
        '{"id":"z","total_price":NaN,"new":"\\ud800","additional_fields":[1.50],"tags":7,"tags":8}'
    )
    server = raw_server(
        lambda handler: reply(handler, b"\xef\xbb\xbf" + body(*PLAIN, odd).encode())
    )
    frames = fetch_orders(client=TrackstarClient("key", "token", base_url=server.base_url))
    (kept,) = (row for row in rows(frames, "orders") if row["id"] == "z")
    assert (kept["additional_fields"], kept["extra"]) == ("[1.50]", '{"new":"\\\\ud800"}')
    assert {row["value"] for row in rows(frames, "problems")} == {"NaN", "7", "8", None}
