"""The model of capacity: its limits are those that are known, and the README says what it does."""

import importlib
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstar_frames.snapshots.writer import PART_SIZE

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "benchmarks"
README = (ROOT / "README.md").read_text()
SECTION = re.search(r"## Many connections\n(.*?)\n## ", README, re.DOTALL)[1]
INF = math.inf
NEEDS = {"received_bytes": 0, "written_bytes": 0, "memory_bytes": 1}
WIDE = {"disk_bytes_per_second": 1e10, "network_megabits_per_second": 1e6, "memory_bytes": 1e12}
WORKS = ["full_load", "hourly_sync"]


@pytest.fixture
def capacity(monkeypatch):
    """The script, and through it all of the model."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("capacity")


@pytest.fixture
def figures(capacity):
    return capacity.Figures()


@pytest.fixture
def ways(capacity):
    return capacity.fleets(capacity.ONE)


def test_one_connection_on_endless_cores_takes_as_long_as_its_token(capacity, figures):
    load = capacity.full_load(capacity.Connection(orders=1_000_000), figures)
    fleet = capacity.Fleet("endless", cores=1e9, disk_bytes_per_second=1e12)
    seconds = fleet.seconds(load, 1, replace(figures, serial_share=0))
    assert capacity.saturated(seconds) == "rate"
    assert max(seconds.values()) == pytest.approx(1011 / (10 * figures.rate_share))


def test_a_page_takes_as_long_as_its_answer(figures):
    assert (figures.requests(0), figures.requests(1000)) == (1, 1)
    assert figures.wait_seconds(1000) == figures.answer_seconds
    assert replace(figures, answer_seconds=30).wait_seconds(100_000) == 30


@pytest.mark.parametrize(
    "more",
    [
        ["cores"],
        ["processes", "memory_bytes"],
        ["at_once"],
        ["memory_bytes"],
        ["network_megabits_per_second"],
        ["disk_bytes_per_second"],
    ],
)
@pytest.mark.parametrize("name", WORKS)
@given(data=st.data())
def test_more_of_anything_is_never_slower(capacity, figures, name, more, data):
    numbers = st.integers(1, 64)
    fleet = capacity.Fleet(
        "some",
        machines=data.draw(numbers),
        processes=data.draw(numbers),
        cores=data.draw(numbers),
        at_once=data.draw(numbers),
        memory_bytes=data.draw(numbers) * 1e9,
    )
    connections, orders = data.draw(st.integers(1, 20_000)), data.draw(st.integers(1, 10**6))
    work = getattr(capacity, name)(capacity.Connection(orders), figures)
    larger = replace(fleet, **{each: 2 * getattr(fleet, each) for each in more})
    before, after = (
        max(each.seconds(work, connections, figures).values()) for each in (fleet, larger)
    )
    assert after <= before * (1 + 1e-9)


@pytest.mark.parametrize("name", WORKS)
@given(connections=st.integers(200, 20_000), orders=st.integers(1, 10**6))
def test_twice_the_connections_on_twice_the_machines_take_the_same(
    capacity, figures, name, connections, orders
):
    many, twice = (capacity.fleets(capacity.ONE, machines)[-1] for machines in (4, 8))
    work = getattr(capacity, name)(capacity.Connection(orders), figures)
    took = many.seconds(work, connections, figures)
    assert twice.seconds(work, 2 * connections, figures) == pytest.approx(took)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cores": 1}, "CPU"),
        ({"network_megabits_per_second": 100}, "network"),
        ({"disk_bytes_per_second": 1e6}, "disk"),
        ({"processes": 16, "at_once": 1, **WIDE}, "rate"),
        ({"processes": 16, "at_once": 1, **WIDE, "network_megabits_per_second": 100}, "network"),
        ({"processes": 16, "at_once": 8, **WIDE}, "CPU"),
        ({"processes": 16, "at_once": 8, **WIDE, "memory_bytes": 16e9}, "memory"),
        ({"memory_bytes": 0.5e9}, "memory"),
    ],
)
def test_what_is_short_saturates_first(capacity, figures, change, expected):
    fleet = replace(capacity.ONE, **change)
    load = capacity.full_load(capacity.Connection(), figures)
    assert capacity.saturated(fleet.seconds(load, 1000, figures)) == expected


def test_what_no_memory_holds_is_never_done(capacity, figures):
    fleet = replace(capacity.ONE, memory_bytes=0.5e9)
    work = capacity.hourly_sync(capacity.Connection(), figures)
    assert fleet.worker_bytes(work, figures) > fleet.memory_bytes
    assert capacity.format_time(fleet.seconds(work, 1, figures)["memory"]) == "never"


def test_one_process_is_busy_on_few_of_many_cores(capacity, figures):
    work = capacity.Work("work", 1, 0, 60, **NEEDS)
    cpu = [
        capacity.Fleet("one", cores=cores).seconds(work, 1, figures)["CPU"] for cores in (1, 2, 1e9)
    ]
    assert cpu == pytest.approx([60, 60 * (0.3 + 0.7 / 2), 60 * 0.3])
    many = capacity.Fleet("many", processes=100)
    assert many.seconds(work, 1, figures)["CPU"] == 60
    assert many.seconds(work, 50, figures)["CPU"] == 60
    assert many.seconds(work, 200, figures)["CPU"] == 120


def test_only_many_machines_write_by_the_network(capacity, figures):
    work = capacity.Work("work", 1, 0, 0, received_bytes=1e9, written_bytes=3e9, memory_bytes=1)
    fleets = [capacity.Fleet("some", machines=each) for each in (1, 2)]
    received, both = (fleet.seconds(work, 100, figures)["network"] for fleet in fleets)
    assert (received, both) == (100 * 8 / 5, 100 * 8 * 4 / 5 / 2)


@pytest.mark.parametrize("within", [600, 3600])
def test_as_many_cores_as_are_needed_and_not_one_more(capacity, figures, ways, within):
    work = capacity.hourly_sync(capacity.Connection(), figures)
    cores = capacity.needed_cores(ways[1], work, 10_000, within)
    enough, fewer = (
        replace(ways[1], processes=each).seconds(work, 10_000, figures)
        for each in (cores, cores - 1)
    )
    assert max(enough["rate"], enough["CPU"]) <= within < max(fewer["rate"], fewer["CPU"])


def test_a_sync_that_is_given_everything_asks_as_a_full_load(capacity, figures):
    connection = capacity.Connection(hourly_share=0.5)
    sync, load = (getattr(capacity, name)(connection, figures) for name in reversed(WORKS))
    assert connection.asked_orders == connection.orders
    assert (sync.requests - 2, sync.received_bytes) == (load.requests, load.received_bytes)


def test_the_newest_part_is_written_anew_and_much_of_the_others(figures):
    assert figures.rewritten_orders(PART_SIZE) == PART_SIZE
    assert figures.rewritten_orders(3 * PART_SIZE) == PART_SIZE * (0.5 + 2.5 * figures.older_share)


def test_thinned_snapshots_are_those_that_the_rule_keeps(capacity, figures):
    connection = capacity.Connection(orders=1000)
    assert capacity.thinned_bytes(connection, figures) == (3 + 14 + 8 + 12) * 320_000
    assert capacity.yearly_bytes(connection, figures) == (1 + 8760) * 320_000


def test_the_simplest_way_that_is_soon_enough_is_taken(capacity, figures, ways):
    connection = capacity.Connection()
    chosen = [capacity.choose(count, connection, figures, ways) for count in (1, 3000, 20_000)]
    assert chosen == [way.name for way in ways]
    assert capacity.choose(10**6, connection, figures, ways) == ways[-1].name


def test_the_readme_has_what_the_model_prints(capacity, figures, ways):
    connection = capacity.Connection()
    assert capacity.markdown(connection, figures, ways) in SECTION
    words = " ".join(SECTION.split())
    assert capacity.on_disk(connection, figures) in words
    for said in (
        f"{connection.orders:,} orders",
        f"changes {connection.hourly_share:.1%}",
        f"{capacity.ONE.cores} cores",
        capacity.format_size(capacity.ONE.memory_bytes),
        f"{capacity.ONE.network_megabits_per_second:,} Mbit/s",
        f"{capacity.format_size(capacity.ONE.disk_bytes_per_second)} a second",
        f"within {capacity.format_time(capacity.SOON).replace('10 min', 'ten minutes')}",
    ):
        assert said in words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.254, "0.25 s"),
        (59, "59 s"),
        (5346, "1.5 h"),
        (2e5, "2.3 days"),
        (INF, "never"),
    ],
)
def test_times_are_rounded(capacity, seconds, text):
    assert capacity.format_time(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(640e6, "640 MB"), (2.41e15, "2.4 PB"), (80, "0.08 kB")]
)
def test_sizes_are_rounded(capacity, size, text):
    assert capacity.format_size(size) == text


def run(*options):
    command = [sys.executable, FOLDER / "capacity.py", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_script_prints_the_table_of_the_readme(capacity, figures, ways):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert capacity.markdown(capacity.Connection(), figures, ways) in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_script_takes_other_machines():
    done = run("--machines", "9", "--disk", "1", "--memory", "8", "--orders", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Dask, 9 machines" in done.stdout
    assert ", disk | " in done.stdout


@pytest.mark.slow
def test_a_real_export_and_sync_are_as_foretold(capacity):
    trial = importlib.import_module("_trial")
    rows = trial.run(4000, capacity.Figures(requests_per_second=500, answer_seconds=0))
    counted = [row for row in rows if "seconds" not in row.name]  # a busy machine blurs the others
    assert [row.name for row in counted] == [
        "full load, requests",
        "full load, snapshot's bytes",
        "hourly sync, requests",
        "hourly sync, snapshot's bytes",
    ]
    assert all(1 / 2 < row.ratio < 2 for row in counted)
    assert len(rows) == 8
    assert all(row.measured > 0 for row in rows)


def test_what_is_far_off_is_told(capacity, capsys):
    row = importlib.import_module("_trial").Row
    near, far, farther = row("near", 2, 9), row("far", 2, 11), row("farther", 11, 2)
    assert capacity._check([near, far, farther]) == 1
    assert "Further off than 5 times: far, farther." in capsys.readouterr().out
    assert capacity._check([near]) == 0
    assert "Further off than 5 times: nothing." in capsys.readouterr().out
