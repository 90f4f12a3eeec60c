"""The words for a fetch that goes on."""

import re

import pytest

from trackstar_frames.progress import Tally


def test_a_bar_says_all_where_there_is_room():
    tally = Tally(0.0)
    for _ in range(123):
        tally.add(1000, 12.0)
    tally.sent(4, 12.4)
    tally.waiting("rate limit", 13.2)
    head = "fetching: 123,000 orders [00:12, 10,250/s] 123 pages"
    assert tally.bar(12.4, None) == f"{head}, 4 requests left, rate limit: 0.8 s"
    assert tally.bar(12.4, 79) == f"{head}, rate limit: 0.8 s"
    head = "fetching: 123,000 orders [00:13, 9,462/s] 123 pages"
    assert tally.bar(13.3, 79) == f"{head}, 4 requests left"


@pytest.mark.parametrize("why", ["rate limit", "server asked to wait", "word " * 20])
def test_a_bar_keeps_to_its_width(why):
    tally = Tally(0.0)
    tally.orders, tally.pages = 123_456_789, 123_457
    tally.sent(10, 98_765.0)
    tally.waiting(why, 98_795.0)
    for width in range(1, 250):
        line = tally.bar(98_765.0, width)
        assert len(line) <= width
        assert line.startswith("fetching: 123,456,789 orders"[:width])
        if width >= 79 and len(why) < 30:
            assert "orders [27:26:05, 1,250/s] " in line
            assert f"{why}: 30 s" in line
    assert "123,457 pages, 10 requests left" in line


def test_a_narrow_bar_says_why_nothing_moves():
    tally = Tally(0.0)
    tally.add(5300, 6.0)
    tally.waiting("server asked to wait", 7.1)
    assert tally.bar(6.0, 52) == "fetching: 5,300 orders, server asked to wait: 1.1 s"


def test_of_several_waits_the_one_that_ends_last_is_shown():
    tally = Tally(0.0)
    tally.waiting("server asked to wait", 4.0)
    tally.waiting("rate limit", 1.0)
    assert "server asked to wait: 4.0 s" in tally.bar(0.0, None)
    assert "rate limit" not in tally.bar(0.0, None)
    tally.waiting("before try 3", 4.5)
    assert "before try 3: 0.5 s" in tally.bar(4.0, None)
    assert "before try 3: 0.1 s" in tally.bar(4.49, None)
    assert ":" not in tally.bar(4.5, None).partition("]")[2]


def test_after_a_second_nothing_is_known_of_the_budget():
    tally = Tally(0.0)
    assert "left" not in tally.line(0.0)
    tally.sent(1, 0.0)
    assert "1 request left" in tally.line(0.9)
    assert "left" not in tally.line(1.1)
    tally.sent(None, 2.0)
    assert "left" not in tally.line(2.0)


def test_the_rate_stands_still_between_the_seconds_while_no_page_comes():
    tally = Tally(0.0)
    tally.add(0, 0.0)
    assert "0 orders/s" in tally.line(0.0)
    tally.add(1000, 1.6)
    rates = [re.search(r"([\d,]+)/s", tally.bar(1.6 + n / 10, None)).group(1) for n in range(20)]
    assert rates == ["625"] * 4 + ["500"] * 10 + ["333"] * 6


def test_pages_to_come_are_told_while_they_come():
    tally = Tally(0.0)
    tally.add(1000, 1.0)
    tally.expect(300, None)
    assert "1 of about 300 pages" in tally.bar(1.0, None)
    assert "1 of about 300 pages, 1,000 orders" in tally.line(1.0)
    tally.expect(40, "another")
    assert "1 of about 340 pages" in tally.bar(1.0, None)
    assert "1 page, 1,000 orders" in tally.last_line(1.0)


def test_more_pages_than_were_expected_are_no_part_of_fewer():
    tally = Tally(0.0)
    tally.expect(1, None)
    for _ in range(2):
        tally.add(1000, 1.0)
    assert "2 pages" in tally.bar(1.0, None)
