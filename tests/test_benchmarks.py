"""The benchmarks run, and measure what they say; how fast anything is, is not tested."""

import importlib
import operator
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import trackstar_frames as tf

FOLDER = Path(__file__).parent / "benchmarks"

CONTENDERS = [
    "ours, to Arrow",
    "ours, to pandas",
    "ours, to Arrow, odd pages",
    "ours, to pandas, odd pages",
    "orjson.loads, nothing built",
    "json_normalize, record_path",
    "orjson and pandas, by hand",
]


def run(*options):
    command = [sys.executable, FOLDER / "flattening.py", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmarks as their scripts do."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def bodies(bench, few):
    """Three pages: the one that the server has, and two copies."""
    pages = bench("_pages")
    server = pages.Server(few.base_url, few.api_key, few.access_token)
    return pages.fetch(server, 3)


@pytest.mark.slow
def test_flattening_measures_every_contender():
    done = run("--pages", "2", "--rounds", "1", "--no-dlt")
    assert (done.returncode, done.stderr) == (0, "")
    cells = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    measured = {name: figures for name, *figures in cells if name in CONTENDERS}
    assert list(measured) == CONTENDERS
    for figures in measured.values():
        assert len(figures) == 8
        assert all(float(figure.replace(",", "")) > 0 for figure in figures[:7])
    assert measured["orjson.loads, nothing built"][4] == "1.00"
    assert measured["json_normalize, record_path"][5] == "1.00"


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [("--pages", "0", "a whole number from 1"), ("--odd-pages", "2", "a share: above 0")],
)
def test_an_option_that_cannot_be_meant_is_refused(option, value, allowed):
    done = run(option, value)
    assert done.returncode == 2
    assert f"{option}: '{value}' is not {allowed}" in done.stderr


def test_copied_pages_hold_other_orders(bodies):
    frames = tf.OrderFrames.from_json(bodies)
    assert (len(frames.orders), frames.info["duplicates"]) == (1050, 0)
    assert frames.orders["units_ordered"].sum() % 3 == 0


def test_odd_pages_have_an_unknown_field_and_some_a_mistyped_price(bench, bodies):
    odd = bench("_pages").make_odd(bodies, share=0.5)
    frames = tf.OrderFrames.from_json(odd)
    told = frames.problems["path"].value_counts()
    assert told.to_dict() == {"risk_level": 1050, "total_price": 2}
    assert set(frames.problems["value"].dropna()) == {'"12,50 EUR"'}


def test_every_way_by_hand_gives_the_rows_that_we_give(bench, bodies):
    peers = bench("_peers")
    ours = tf.OrderFrames.from_json(bodies).to_arrow()
    for work in (peers.normalize, peers.by_hand):
        theirs = work(bodies)
        assert {**theirs, "problems": ()}.keys() == ours.keys()
        for name, frame in theirs.items():
            assert len(frame) == len(ours[name])
            key = "id" if name == "orders" else frame.columns[frame.columns.isin(OF_ORDER)][0]
            assert set(frame[key]) == set(
                ours[name]["order_id" if key != "id" else "id"].to_pylist()
            )


OF_ORDER = ["order_id", "of.id"]


def test_who_does_less_work_stops_the_run(bench, bodies):
    script = bench("flattening")
    rows = {name: len(table) for name, table in script.to_arrow(bodies).items()}
    del rows["problems"]
    script._check_rows(rows, bodies, bodies)
    with pytest.raises(SystemExit, match="json_normalize, record_path: other rows than ours"):
        script._check_rows(rows, bodies[1:], bodies)


def test_a_ratio_is_that_of_the_same_round(bench):
    measure = bench("_measure")
    quick, slow = (measure.Contender(name, len, list, list, 10, 10) for name in ("quick", "slow"))
    timings = measure.Timings([quick, slow])
    timings.seconds |= {"quick": [1.0, 5.0, 2.0], "slow": [2.0, 10.0, 4.0]}
    assert timings.ratio("quick", "slow") == 2
    assert timings.rates("quick") == [10, 2, 5]


def test_each_round_is_led_by_another_contender(bench):
    measure, met = bench("_measure"), []
    contenders = [
        measure.Contender(str(n), met.append, partial(int, n), list, 1, 1) for n in range(3)
    ]
    timings = measure.time_rounds(contenders, 3, collect=True)
    assert met == [0, 1, 2, 1, 2, 0, 2, 0, 1]
    assert [len(each) for each in timings.seconds.values()] == [3, 3, 3]


def test_peak_memory_is_what_the_work_adds(bench):
    measure = bench("_measure")
    size = 64_000_000
    work = partial(operator.mul, b"x")
    heavy = measure.Contender("heavy", work, partial(int, size), partial(work, 1), 1, size)
    light = measure.Contender("light", len, partial(work, size), list, 1, size)
    assert measure.peak_growth(heavy, collect=True) == pytest.approx(size, rel=0.1)
    assert measure.peak_growth(light, collect=True) < size / 10


def test_a_table_is_aligned(bench):
    table = bench("_report").format_table(["who", "n"], [["a name", "1"], ["b", "1,000"]])
    assert table == "who         n\n------  -----\na name      1\nb       1,000"
