"""The benchmarks run, and measure what they say; how fast anything is, is not tested."""

import importlib
import operator
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Request

FOLDER = Path(__file__).parent.parent / "benchmarks"

CONTENDERS = [
    "ours, to Arrow",
    "ours, to pandas",
    "ours, to Arrow, odd pages",
    "ours, to pandas, odd pages",
    "orjson.loads, nothing built",
    "json_normalize, record_path",
    "orjson and pandas, by hand",
]


FETCHERS = [
    "ours, in windows",
    "ours, in windows, cache cold",
    "ours, in windows, cache warm",
    "ours, one chain",
    "loop and json_normalize, by hand",
]

REPLAYS = ["from_json, bodies in memory", "replay, one chain", "replay, in windows"]


def run(*options, script="flattening.py"):
    command = [sys.executable, FOLDER / script, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmarks as their scripts do."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


@pytest.fixture
def bodies(bench, shared_sandbox):
    """Three pages: the one that the server has, and two copies."""
    pages = bench("_pages")
    server = pages.Server(
        shared_sandbox.base_url, shared_sandbox.api_key, shared_sandbox.access_token
    )
    return pages.fetch(server, 3)


@pytest.mark.slow
def test_flattening_measures_every_contender():
    done = run("--pages", "2", "--rounds", "1", "--no-dlt")
    assert (done.returncode, done.stderr) == (0, "")
    measured = rows_of(done.stdout, CONTENDERS)
    assert list(measured) == CONTENDERS
    for figures in measured.values():
        assert len(figures) == 8
        assert all(number(figure) > 0 for figure in figures[:7])
    assert measured["orjson.loads, nothing built"][4] == "1.00"
    assert measured["json_normalize, record_path"][5] == "1.00"


def rows_of(text, names):
    """Find the rows of a table by their first cells."""
    cells = [re.split(r"  +", line) for line in text.splitlines()]
    return {name: figures for name, *figures in cells if name in names}


def number(figure):
    return float(figure.replace(",", "").rstrip("%"))


@pytest.mark.slow
def test_fetching_measures_every_contender():
    few = ("--orders", "2500", "--latency", "0", "--rate", "500", "--rounds", "1")
    done = run(*few, "--replay-pages", "1", "--replay-rounds", "1", script="fetching.py")
    assert (done.returncode, done.stderr) == (0, "")
    measured = rows_of(done.stdout, FETCHERS)
    assert list(measured) == FETCHERS
    for figures in measured.values():
        assert len(figures) == 9
        assert figures[0] == "2.5"
        assert figures[2] == "0"
        assert all(number(figures[place]) > 0 for place in (3, 5, 6, 7))
    windows, cold, warm, chain, loop = ([number(each[1])] for each in measured.values())
    assert windows == cold > chain == [loop[0] + 2] == [5]  # ours asks for what has changed
    assert (warm, measured["ours, in windows, cache warm"][4]) == ([0], "-")
    assert measured["ours, one chain"][6] == "1.00"
    assert list(rows_of(done.stdout, REPLAYS)) == REPLAYS
    sizes = rows_of(done.stdout, ["JSON", "zstd 3, body by body", "the cache's file"])
    assert [number(ratio) >= 1 for _, ratio in sizes.values()] == [True] * 3


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("script", "option", "value", "allowed"),
    [
        ("flattening.py", "--pages", "0", "a whole number from 1"),
        ("flattening.py", "--odd-pages", "2", "a share: above 0"),
        ("fetching.py", "--latency", "-1", "a number of seconds from 0"),
    ],
)
def test_an_invalid_option_is_refused(script, option, value, allowed):
    done = run(option, value, script=script)
    assert done.returncode == 2
    assert f"{option}: '{value}' is not {allowed}" in done.stderr


def test_copied_pages_hold_other_orders(bodies):
    frames = tf.OrderFrames.from_json(bodies)
    assert (len(frames.orders), frames.info["duplicates"]) == (1050, 0)
    assert frames.orders["units_ordered"].sum() % 3 == 0


def test_odd_pages_have_an_unknown_field_and_some_a_mistyped_price(bench, bodies):
    odd = bench("_pages").make_odd(bodies, share=0.5)
    frames = tf.OrderFrames.from_json(odd)
    outcome = frames.problems["path"].value_counts()
    assert outcome.to_dict() == {"risk_level": 1050, "total_price": 2}
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


@pytest.mark.slow
def test_each_round_is_led_by_another_contender(bench):
    measure, calls = bench("_measure"), []
    contenders = [
        measure.Contender(str(n), calls.append, partial(int, n), list, 1, 1) for n in range(3)
    ]
    timings = measure.time_rounds(contenders, 3, collect=True)
    assert calls == [0, 1, 2, 1, 2, 0, 2, 0, 1]
    assert [len(each) for each in timings.seconds.values()] == [3, 3, 3]


@pytest.mark.slow
def test_peak_memory_is_what_the_work_adds(bench):
    measure = bench("_measure")
    size = 64_000_000
    work = partial(operator.mul, b"x")
    heavy = measure.Contender("heavy", work, partial(int, size), partial(work, 1), 1, size)
    light = measure.Contender("light", len, partial(work, size), list, 1, size)
    assert measure.peak_growth(heavy, collect=True) == pytest.approx(size, rel=0.1)
    assert measure.peak_growth(light, collect=True) < size / 10


def test_work_in_another_process_is_timed_and_measured(bench):
    work = partial(operator.mul, b"x")
    size = 64_000_000
    heavy = bench("_measure").Contender("heavy", work, partial(int, size), list, 1, size)
    started_at = time.time()
    run = bench("_measure").run_apart(heavy, len)
    assert started_at < run.started_at < run.started_at + run.seconds < time.time()
    assert (run.outcome, run.growth) == (size, pytest.approx(size, rel=0.1))


@pytest.mark.slow
def test_the_sandbox_of_another_process_reports_its_requests(bench):
    started_at = time.time()
    with bench("_server").serve(1500, rate_limit=2) as serving:
        assert serving.requests(0, time.time()) == []
        assert len(bench("_peers").by_loop(serving.server)) == 1500
        assert len(bench("_peers").by_loop(serving.server, 5)) == 5
        seen = serving.requests(started_at, time.time())
        assert serving.requests(0, started_at) == []
    assert {each.token for each in seen} == {serving.server.access_token}
    assert [each.status for each in seen if each.status != 429] == [200] * 3


def test_the_rate_is_that_from_the_first_arrival_to_the_last_response(bench):
    fetching, measure = bench("fetching"), bench("_measure")
    seen = [Request(50 + at, None, "/", 429 if at == 2 else 200) for at in range(5)]
    fetch = fetching._Fetch(measure.Run(0, 9, 1, 0, 0), seen, latency=0.5)
    assert (fetch.requests, fetch.refused, fetch.rate) == (5, 1, 4 / 4.5)
    assert fetching._Fetch(measure.Run(0, 9, 1, 0, 0), [], latency=0.5).rate == 0


def test_who_fetches_less_stops_the_run(bench):
    fetching, measure = bench("fetching"), bench("_measure")
    contender = measure.Contender("some", len, list, list, orders=1000, size=0)
    fetching._check(contender, measure.Run(0, 1, 1, None, outcome=1000))
    with pytest.raises(SystemExit, match="some: 999 orders of 1,000, so no time compares"):
        fetching._check(contender, measure.Run(0, 1, 1, None, outcome=999))


def test_a_table_is_aligned(bench):
    table = bench("_report").format_table(["who", "n"], [["a name", "1"], ["b", "1,000"]])
    assert table == "who         n\n------  -----\na name      1\nb       1,000"


EXPORTS = [
    "export, few orders",
    "export, all orders",
    "fetch_orders, then write_snapshot",
    "sync, hours later",
]


@pytest.mark.slow
def test_exporting_measures_every_work():
    few = ("--orders", "2500", "--few", "0.5", "--latency", "0", "--rate", "500")
    done = run(*few, script="exporting.py")
    assert (done.returncode, done.stderr) == (0, "")
    measured = rows_of(done.stdout, EXPORTS)
    assert list(measured) == EXPORTS
    orders, requests = ([number(each[place]) for each in measured.values()] for place in (0, 1))
    assert 500 < orders[0] < orders[1] == orders[2] == 2500 < orders[3]
    assert all(requests)
    assert all(number(figure) > 0 for each in measured.values() for figure in each[2:6])
    assert len(re.findall(r"(?:to few|to export): \d+\.\d+$", done.stdout, re.MULTILINE)) == 4


JUDGES = [
    "pandas.read_parquet, all orders",
    "required ship date",
    "late shipment rate",
    "noon cut-off",
    "four business days",
]


@pytest.mark.slow
def test_judging_measures_every_policy():
    done = run("--orders", "2500", "--rounds", "1", script="judging.py")
    assert (done.returncode, done.stderr) == (0, "")
    measured = rows_of(done.stdout, JUDGES)
    assert list(measured) == JUDGES
    assert all(number(figures[2]) > 0 for figures in measured.values())
    assert measured[JUDGES[0]][2] == "1.000"


@pytest.mark.slow
def test_scaling_measures_both_clusters():
    few = ("--connections", "4", "--orders", "50", "--rounds", "1")
    done = run(*few, script="scaling.py")
    assert (done.returncode, done.stderr) == (0, "")
    measured = rows_of(done.stdout, ["one worker", "two workers"])
    assert list(measured) == ["one worker", "two workers"]
    assert all(number(figure) > 0 for each in measured.values() for figure in each)
    assert [measured["one worker"][place] for place in (3, 5)] == ["1.00", "1.00"]


@pytest.mark.slow
def test_importing_measures_every_import(bench):
    done = run("--rounds", "1", script="importing.py")
    assert (done.returncode, done.stderr) == (0, "")
    script = bench("importing")
    measured = rows_of(done.stdout, script.CODE)
    assert list(measured) == list(script.CODE)
    assert measured[script.PEER][2] == "1.00"
    modules = [number(each[3]) for each in measured.values()]
    nothing, peer, face, fetch, everything = modules
    assert nothing < face < peer < fetch < everything


def test_a_peer_that_keeps_less_is_none(bench):
    exporting, measure = bench("exporting"), bench("_measure")
    runs = {
        name: measure.Run(0, 1, 1, None, outcome=exporting.Done(orders=1000, requests=1))
        for name in (exporting.LARGE, exporting.MEMORY, exporting.SYNC)
    }
    exporting._check(runs, 1000, new=0)
    with pytest.raises(SystemExit, match="1,000 orders of 1,001"):
        exporting._check(runs, 1000, new=1)


def test_copies_are_whole_orders_in_the_sequence_of_any_snapshot(bench, tmp_path):
    frames = bench("_copies").write(2100, tmp_path).read()
    orders = frames.orders
    assert len(orders) == orders["id"].nunique() == 2100
    assert orders.equals(orders.sort_values(["created_date", "id"], ignore_index=True))
    for name, column in (("line_items", "line_item_count"), ("packages", "package_count")):
        rows = getattr(frames, name)
        found = rows["order_id"].value_counts().reindex(orders["id"]).fillna(0)
        assert found.tolist() == orders[column].tolist()
        places = orders.reset_index().set_index("id")["index"].reindex(rows["order_id"])
        assert places.is_monotonic_increasing


@pytest.mark.slow
def test_measuring_times_every_measure(bench):
    done = run("--orders", "2500", "--rounds", "1", script="measuring.py")
    assert (done.returncode, done.stderr) == (0, "")
    script = bench("measuring")
    names = [script.READ, *script.MEASURES, script.FIRST]
    measured = rows_of(done.stdout, names)
    assert list(measured) == names
    assert measured[script.READ][4] == "1.00"
    assert all(number(figures[3]) > 0 for figures in measured.values())
    public = {name.partition(",")[0] for name in names[1:]}
    kept = {name for name in tf.measures.__all__ if callable(getattr(tf, name, None))}
    assert kept - public <= {"SlaPolicy", "cycle_time_curve", "moved_due_dates", "transitions"}
