"""The command line: what it prints, writes and returns."""

import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from helpers.marks import slow
from helpers.servers import reply

import trackstar_frames as tf
from trackstar_frames.cli import main
from trackstar_frames.sandbox import Sandbox

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(orders=300, rate_limit=None) as running:
        yield running


@pytest.fixture
def connected(sandbox, monkeypatch):
    monkeypatch.setenv("TRACKSTAR_BASE_URL", sandbox.base_url)
    monkeypatch.setenv("TRACKSTAR_API_KEY", sandbox.api_key)
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", sandbox.access_token)
    return sandbox


def test_the_demo_shows_and_writes_everything(tmp_path, capsys):
    assert main(["demo", "--folder", str(tmp_path / "out"), "--orders", "400"]) == 0
    text = capsys.readouterr().out
    assert "fetched 400 orders with 1 request; the same call again took 0" in text
    assert re.search(r"\d+ on_time, \d+ late_shipped, \d+ late_open", text)
    (snapshot,) = (tmp_path / "out" / "snapshots").iterdir()
    for path in (snapshot, tmp_path / "out/status_mix.png"):
        assert str(path) in text
        assert path.exists()
    assert (tmp_path / "out/ship_date_compliance.png").read_bytes().startswith(b"\x89PNG")
    assert len(tf.read_snapshot(tmp_path / "out" / "snapshots").orders) == 400


def test_fetch_prints_rows_and_writes_tables(connected, tmp_path, capsys):
    arguments = ["status__in=open,fulfilled", "created_date__gte=2020-01-01"]
    expected = {o["id"] for o in connected.orders if o["status"] in ("open", "fulfilled")}
    assert main(["fetch", *arguments, "--output", str(tmp_path / "out")]) == 0
    assert f"wrote {len(expected):,} orders" in capsys.readouterr().out
    assert set(pd.read_parquet(tmp_path / "out/orders")["id"]) == expected
    assert main(["fetch", *arguments, "--limit", "7", "--snapshot", str(tmp_path / "s")]) == 0
    assert "... 7 orders x" in capsys.readouterr().out
    assert main(["snapshots", str(tmp_path / "s")]) == 0
    assert re.search(r"Z\s.*\b7\b", capsys.readouterr().out)


def test_fetch_takes_the_cache_and_offline(connected, capsys):
    count = len(connected.requests)
    assert main(["fetch", "--offline"]) == 1
    assert "not on disk" in capsys.readouterr().err
    assert main(["fetch"]) == 0
    assert main(["fetch", "--offline"]) == 0
    assert len(connected.requests) == count + 1
    assert main(["fetch", "--refresh"]) == 0
    assert len(connected.requests) == count + 2


@pytest.mark.usefixtures("connected")
def test_the_cache_is_described_and_cleared(capsys):
    main(["fetch"])
    capsys.readouterr()
    assert main(["cache", "info"]) == 0
    assert "pages: 1\n" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("deleted 1 page ")
    assert main(["cache", "info"]) == 0
    assert "pages: 0\n" in capsys.readouterr().out


def test_a_damaged_cache_is_reported_and_can_be_cleared(tmp_path, capsys):
    file = tmp_path / "cache" / "http" / "pages.sqlite"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database at all, " * 100)
    assert main(["cache", "info"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["cache", "clear"]) == 0
    assert not file.exists()


def test_a_folder_without_snapshots_is_reported(tmp_path, capsys):
    assert main(["snapshots", str(tmp_path)]) == 0
    assert "there are no snapshots" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        (["status=open", "status=backordered"], "status[in]=backordered,open"),
        (
            ["status__in=open,packed", "status[in]=backordered"],
            "status[in]=backordered,open,packed",
        ),
        (["status__nin=open", "status__nin=packed"], "status[nin]=open,packed"),
        (["channel=web", "type=b2b", "channel=edi"], "channel[in]=edi,web"),
        (["ids=a", "ids__in=b,c"], "ids=a,b,c"),
        (["channel__eq=a,b"], "channel=a,b"),
        (["order_number__in_insensitive=A", "order_number__in_insensitive=b"], "]=A,b"),
        (["created_date__gte=2026-01-01", "created_date__lt=2026-02-01"], "[lt]=2026-02-01"),
    ],
)
def test_a_filter_given_again_is_a_list(connected, filters, query, capsys):
    assert main(["fetch", "--refresh", *filters]) == 0, capsys.readouterr().err
    assert query in unquote(connected.requests[-1].path)


@pytest.mark.parametrize(
    ("filters", "text"),
    [
        (["created_date__gte=2026-01-01"] * 2, "created_date__gte is given twice"),
        (["created_date__gte=2026-01-01", "created_date[gte]=2026-01-02"], "twice, and takes one"),
        (["status__eq=open", "status=packed"], "write status__in with all values"),
        (["order_number__eq_insensitive=A"] * 2, "order_number__in_insensitive with all"),
        (["required_ship_date=2026-01-01", "required_ship_date=2026-01-02"], "give it once"),
        (["channel__contains=a", "channel__contains=b"], "channel__contains is given twice"),
        (["status=open", "status__in=packed"], "status and status__in are both given"),
        (["status__in=packed", "status__eq=open"], "status__eq and status__in are both given"),
        (["status=open,backordered"], "write status__in=open,backordered"),
        (["status__neq=open,packed"], "write status__nin=open,packed"),
        (["channel=a,b"], "channel__in=a,b; for one text with commas, channel__eq=a,b"),
        (["created_date=2026-01-01,2026-01-02"], "created_date__in=2026-01-01,2026-01-02"),
        (["--limit=5", "--limit=6"], "--limit is given twice"),
        (["--pii=drop", "--pii=keep"], "--pii is given twice"),
        (["--page-size=5", "--page-size=5"], "--page-size is given twice"),
        (["--output="], "--output='' must be the path of a folder"),
    ],
)
def test_repeated_options_are_used_or_refused(connected, filters, text, capsys):
    count = len(connected.requests)
    try:
        code = main(["fetch", *filters])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert text in printed.err
    assert len(connected.requests) == count


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--rate-limit=-5"], "rate_limit=-5"),
        (["--port=65536"], "port=65536"),
        (["--port=-1"], "port=-1"),
        (["--latency=nan"], "latency=nan"),
        (["--tokens=100000"], "tokens=100000"),
        (["--orders=999999999999"], "orders=999999999999"),
    ],
)
def test_an_invalid_sandbox_is_an_error_of_one_line(options, text, capsys):
    assert main(["sandbox", *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"{text} is not between" in printed


@pytest.mark.skipif(os.name == "nt", reason="bash")
@pytest.mark.parametrize("unbuffered", ["", slow("1")])
@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("fetch | true", 141, ""),
        slow("fetch --help | true", 141, ""),
        slow("cache info | true", 141, ""),
        slow("snapshots tests/plots | cat", 0, ""),
        ("fetch >&-", 1, "standard output is closed"),
        slow("cache info >&-", 1, "standard output is closed"),
        slow("fetch status=opne 2>&-", 2, ""),
        slow("fetch status=opne 2>&1 >/dev/null | true", 2, ""),
        pytest.param("fetch > /dev/full", 1, "cannot write to standard output", marks=FULL),
        pytest.param("--version > /dev/full", 1, "cannot write", marks=[FULL, pytest.mark.slow]),
        pytest.param("fetch --help > /dev/full", 1, "cannot write", marks=[FULL, pytest.mark.slow]),
        pytest.param("fetch > /dev/full 2> /dev/full", 1, "", marks=[FULL, pytest.mark.slow]),
    ],
)
@pytest.mark.usefixtures("connected")
def test_an_unwritable_output_is_an_error_of_one_line(line, code, text, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    shell = f"'{sys.executable}' -m trackstar_frames {line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    # Without a buffer the end of the line is written by itself, and `head` may have gone by then.
    codes = {code, 141} if unbuffered and "head" in line else {code}
    assert done.returncode in codes, done.stderr
    assert done.stderr.count("\n") == bool(text)
    assert text in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "COMMAND"),
        (["fech"], 2, "'fetch'"),
        (["fetch"], 2, "TRACKSTAR_API_KEY"),
        (["fetch", "stauts=open"], 2, "did you mean 'status'"),
        (["fetch", "status=opne"], 2, "did you mean 'open'"),
        (["fetch", "status"], 2, "FIELD=VALUE"),
        (["fetch", "--limit", "many"], 2, "invalid int"),
        (["demo", "--orders", "0"], 2, "at least 1"),
        (["cache", "empty"], 2, "clear"),
        (["snapshots"], 2, "ROOT"),
        (["export"], 2, "required: ROOT (see"),
        (["export", "status=open"], 2, "looks like a filter, where the path of a folder"),
        (["sync", "created_date[gte]=2026-01-01", "root"], 2, "write './created_date[gte]=2026"),
        (["fetch", "--snapshot", "stauts=open"], 2, "put the folder before it"),
        (["fetch", "--output", "status__in=open"], 2, "put the folder before it"),
        (["fetch", "--api-key", "secret"], 2, "unrecognized"),
    ],
)
def test_a_wrong_call_is_an_error_of_one_line_and_code_2(arguments, code, text, capsys):
    try:
        returned = main(arguments)
    except SystemExit as stop:
        returned = stop.code
    printed = capsys.readouterr()
    assert returned == code
    assert printed.out == ""
    assert printed.err.startswith("trackstar-frames: error: ")
    assert printed.err.count("\n") == 1
    assert text in printed.err


def test_filters_may_stand_behind_options(connected, tmp_path, capsys):
    root = str(tmp_path / "root")
    assert main(["export", root, "--page-size=400", "status=open", "--limit=5", "type=b2b"]) == 0
    path = connected.requests[-1].path
    assert "status=open" in path
    assert "type=b2b" in path
    for wrong in (["snapshots", root, "more"], ["export", root, "--page-size=400", "-x", "a=b"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        assert "unrecognized arguments: " in capsys.readouterr().err


@pytest.mark.usefixtures("connected")
def test_a_label_that_is_not_utf8_is_refused(capsys):
    label = "caf\udce9"
    assert main(["fetch", "--connection", label]) == 2
    assert main(["fetch", "--connections", f"{label}=TRACKSTAR_ACCESS_TOKEN"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("is not UTF-8; give another label") == errors.count("\n") == 2


def test_a_folder_may_be_named_as_a_filter_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("day=1").mkdir()
    for root in ("day=1", "./day=2"):
        assert main(["snapshots", root]) == 0
    assert "no snapshots" in capsys.readouterr().out


def test_a_warning_is_one_line(raw_server, monkeypatch, capsys):
    body = b'{"data": [{"id": "a", "status": "open\\u001b[2J"}], "next_token": null}'
    monkeypatch.setenv("TRACKSTAR_API_KEY", "a-key")
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", "a-token")
    server = raw_server(lambda handler: reply(handler, body))
    monkeypatch.setenv("TRACKSTAR_BASE_URL", server.base_url)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["fetch", "ids=b"]) == 0
    errors = capsys.readouterr().err
    assert errors.startswith("trackstar-frames: warning: the server sent 1 order outside")
    assert errors.count("\n") == 1
    assert "\x1b" not in errors
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["fetch", "ids=b"]) == 1
    assert capsys.readouterr().err.startswith("trackstar-frames: error: the server sent 1 order")


@pytest.mark.usefixtures("connected")
def test_a_failure_is_one_line_and_code_1(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["fetch", "--snapshot", str(tmp_path / "file" / "root")]) == 1
    assert "cannot write" in capsys.readouterr().err
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", "wrong-token")
    assert main(["fetch"]) == 1
    printed = capsys.readouterr().err
    assert "401" in printed
    assert "wrong-token" not in printed


def test_order_text_cannot_control_the_terminal(monkeypatch, capsys):
    hostile = {"id": "a", "order_number": "\x1b]0;owned\x07\x1b[2J\r#1"}
    with Sandbox(orders=[hostile], rate_limit=None) as sandbox:
        monkeypatch.setenv("TRACKSTAR_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("TRACKSTAR_API_KEY", sandbox.api_key)
        monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", sandbox.access_token)
        assert main(["fetch"]) == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", capsys.readouterr().out)


@pytest.mark.slow
def test_order_text_that_the_output_cannot_show_is_escaped(monkeypatch):
    with Sandbox(orders=[{"id": "a", "order_number": "\u2116 7"}], rate_limit=None) as sandbox:
        monkeypatch.setenv("TRACKSTAR_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("TRACKSTAR_API_KEY", sandbox.api_key)
        monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", sandbox.access_token)
        monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as a pipe on Windows
        code = "import sys; from trackstar_frames.cli import main; sys.exit(main(['fetch']))"
        shell = [sys.executable, "-c", code]
        done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert "\\u2116 7" in done.stdout


def test_every_command_explains_itself(capsys):
    for command in ("demo", "fetch", "snapshots", "sandbox", "cache"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert command in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_the_sandbox_serves_until_interrupted():
    # What is started by tests that run in the background would ignore the signal, as they do.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from trackstar_frames.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "sandbox", "--orders", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        exported = dict(
            server.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in range(3)
        )
        client = tf.TrackstarClient(
            exported["TRACKSTAR_API_KEY"],
            exported["TRACKSTAR_ACCESS_TOKEN"],
            base_url=exported["TRACKSTAR_BASE_URL"],
            cache=False,
        )
        assert len(tf.fetch_orders_df(client=client)) == 50
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


@pytest.mark.usefixtures("connected")
def test_export_and_sync_write_snapshots_and_show_what_they_did(tmp_path, capsys):
    root = str(tmp_path / "root")
    assert main(["export", root, "created_date__gte=2020-01-01"]) == 0
    assert re.fullmatch(rf"exported to {root}/\S+ with \d+ requests?\n", capsys.readouterr().out)
    assert main(["sync", root, "created_date__gte=2020-01-01", "--overlap", "90min"]) == 0
    text = capsys.readouterr().out
    assert re.fullmatch(
        rf"synced to {root}/\S+ with \d+ requests?: 0 new, 0 changed, \d+ unchanged\n", text
    )
    assert tf.list_snapshots(root)["orders"].tolist() == [300, 300]
    assert main(["sync", root, "created_date__gte=2020-01-01", "--full-every", "0s"]) == 0
    assert "unchanged\n" in capsys.readouterr().out
    assert main(["sync", root, "created_date__gte=2020-01-01", "--full-every", "soon"]) == 2
    assert "full_every='soon'" in capsys.readouterr().err
    assert main(["fetch", "--verify", "--limit", "3"]) == 2
    assert "verify=True" in capsys.readouterr().err
    assert main(["sync", root, "status=open"]) == 2
    assert "cannot be kept in sync" in capsys.readouterr().err
    assert main(["sync", root]) == 1
    assert "are of another request" in capsys.readouterr().err


def test_several_connections_are_named_by_variables(serve_connections, tmp_path, capsys):
    sandbox = serve_connections(tokens=2)
    options = [f"--connections={label}={name}" for label, name in sandbox.connections.items()]
    root = str(tmp_path / "root")
    assert main(["fetch", *options, "--limit", "70"]) == 0
    assert main(["export", root, *options]) == 0
    assert main(["sync", root, *options]) == 0
    printed = capsys.readouterr().out
    assert "exported to" in printed
    assert "0 new, 0 changed" in printed
    assert len(tf.read_snapshot(root).orders) == 120


@pytest.mark.parametrize(
    "given", [["acme"], ["acme="], ["=X"], ["a=X", "a=Y"], ["a=NOT_SET"]], ids=" ".join
)
def test_invalid_connections_are_an_error_of_one_line(given, capsys):
    assert main(["fetch", *(f"--connections={each}" for each in given)]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "connections" in text
