"""The lines that show the counts of a fetch."""

import re

import pytest

from trackstar_frames.progress import Counters


def test_a_bar_shows_everything_if_it_fits():
    counters = Counters(0.0)
    for _ in range(123):
        counters.add(1000, 12.0)
    counters.sent(4, 12.4)
    counters.waiting("rate limit", 13.2)
    head = "fetching: 123,000 orders [00:12, 10,250/s] 123 pages"
    assert counters.bar(12.4, None) == f"{head}, 4 requests left, rate limit: 0.8 s"
    assert counters.bar(12.4, 79) == f"{head}, rate limit: 0.8 s"
    head = "fetching: 123,000 orders [00:13, 9,462/s] 123 pages"
    assert counters.bar(13.3, 79) == f"{head}, 4 requests left"


@pytest.mark.parametrize("why", ["rate limit", "server asked to wait", "word " * 20])
def test_a_bar_keeps_to_its_width(why):
    counters = Counters(0.0)
    counters.orders, counters.pages = 123_456_789, 123_457
    counters.sent(10, 98_765.0)
    counters.waiting(why, 98_795.0)
    for width in range(1, 250):
        line = counters.bar(98_765.0, width)
        assert len(line) <= width
        assert line.startswith("fetching: 123,456,789 orders"[:width])
        if width >= 79 and len(why) < 30:
            assert "orders [27:26:05, 1,250/s] " in line
            assert f"{why}: 30 s" in line
    assert "123,457 pages, 10 requests left" in line


def test_a_narrow_bar_shows_why_nothing_moves():
    counters = Counters(0.0)
    counters.add(5300, 6.0)
    counters.waiting("server asked to wait", 7.1)
    assert counters.bar(6.0, 52) == "fetching: 5,300 orders, server asked to wait: 1.1 s"


def test_of_several_waits_the_one_that_ends_last_is_shown():
    counters = Counters(0.0)
    counters.waiting("server asked to wait", 4.0)
    counters.waiting("rate limit", 1.0)
    assert "server asked to wait: 4.0 s" in counters.bar(0.0, None)
    assert "rate limit" not in counters.bar(0.0, None)
    counters.waiting("before attempt 3", 4.5)
    assert "before attempt 3: 0.5 s" in counters.bar(4.0, None)
    assert "before attempt 3: 0.1 s" in counters.bar(4.49, None)
    assert ":" not in counters.bar(4.5, None).partition("]")[2]


def test_after_a_second_nothing_is_known_of_the_budget():
    counters = Counters(0.0)
    assert "left" not in counters.line(0.0)
    counters.sent(1, 0.0)
    assert "1 request left" in counters.line(0.9)
    assert "left" not in counters.line(1.1)
    counters.sent(None, 2.0)
    assert "left" not in counters.line(2.0)


def test_the_rate_stands_still_between_the_seconds_while_no_page_comes():
    counters = Counters(0.0)
    counters.add(0, 0.0)
    assert "0 orders/s" in counters.line(0.0)
    counters.add(1000, 1.6)
    rates = [re.search(r"([\d,]+)/s", counters.bar(1.6 + n / 10, None)).group(1) for n in range(20)]
    assert rates == ["625"] * 4 + ["500"] * 10 + ["333"] * 6


def test_expected_pages_are_shown_until_they_have_come():
    counters = Counters(0.0)
    counters.add(1000, 1.0)
    counters.expect(300, None)
    assert "1 of about 300 pages" in counters.bar(1.0, None)
    assert "1 of about 300 pages, 1,000 orders" in counters.line(1.0)
    counters.expect(40, "another")
    assert "1 of about 340 pages" in counters.bar(1.0, None)
    assert "1 page, 1,000 orders" in counters.last_line(1.0)


def test_more_pages_than_were_expected_are_no_part_of_fewer():
    counters = Counters(0.0)
    counters.expect(1, None)
    for _ in range(2):
        counters.add(1000, 1.0)
    assert "2 pages" in counters.bar(1.0, None)
