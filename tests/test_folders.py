"""Where things are kept: the path of a folder, and nothing that only looks like one."""

import subprocess
import sys
from pathlib import Path

import pytest

import trackstar_frames as tf
from trackstar_frames.cli import main
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.settings import local_folder

FRAMES = tf.OrderFrames.from_json({"id": "a1"})

URLS = [
    *("s3://bucket/orders", "S3://bucket", "gs://b/x", "az://b", "abfs://c@a.dfs.core/x"),
    *("file:///data/x", "file:/data/x", "hdfs://host/x", "http://host/x", "https://host/x"),
    *(" s3://bucket", "custom://x", "simplecache::s3://bucket", "./s3://bucket", "s3:bucket"),
    *(Path("s3://bucket/orders"), Path("custom://x"), Path("s3://bucket").absolute()),
]
NO_FOLDERS = ["", "  ", "a\0b", "~there-is-no-such-user/x", "a\udcff/b"]

#: Everything that takes a root or a path, but for what needs a server.
TAKERS = {
    "write_snapshot": lambda place: tf.write_snapshot(FRAMES, place),
    "to_parquet": FRAMES.to_parquet,
    "from_parquet": tf.OrderFrames.from_parquet,
    "list_snapshots": tf.list_snapshots,
    "read_snapshot": tf.read_snapshot,
    "read_snapshot_dask": tf.read_snapshot_dask,
    "prune_snapshots": tf.prune_snapshots,
    "order_history": lambda place: tf.order_history(place, "a1"),
    "diff_snapshots": lambda place: tf.diff_snapshots(place, FRAMES),
    "status_transitions": lambda place: tf.status_transitions(place, FRAMES),
    "cache_dir": lambda place: tf.TrackstarClient("k", "t", cache_dir=place),
    "cache_dir, without a cache": lambda place: tf.TrackstarClient(
        "k", "t", cache=False, cache_dir=place
    ),
}
ASKERS = {
    "export_orders": lambda place, client: tf.export_orders(place, client=client),
    "sync_orders": lambda place, client: tf.sync_orders(place, client=client),
    "fetch_orders": lambda place, client: tf.fetch_orders(snapshot=place, client=client),
    "fetch_orders_df": lambda place, client: tf.fetch_orders_df(snapshot=place, client=client),
}
COMMANDS = {
    "fetch --snapshot": ["fetch", "--snapshot"],
    "fetch --output": ["fetch", "--output"],
    "export": ["export"],
    "sync": ["sync"],
    "snapshots": ["snapshots"],
    "demo": ["demo", "--orders", "5", "--folder"],
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Begin in an empty folder, and see to it that it stays so."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    yield
    assert list(empty.iterdir()) == []


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(orders=5, rate_limit=None) as running:
        yield running


@pytest.mark.parametrize("place", [*URLS, *NO_FOLDERS], ids=repr)
@pytest.mark.parametrize("taker", TAKERS)
def test_an_invalid_folder_is_refused_by_every_function(taker, place):
    with pytest.raises(tf.SettingsError) as got:
        TAKERS[taker](place)
    message = str(got.value)
    assert message.startswith(("root", "path", "cache_dir"))
    assert ("is a URL" in message) == (place in URLS)


@pytest.mark.parametrize("place", ["s3://bucket/x", Path("gs://b"), "", "~there-is-no-such-user"])
@pytest.mark.parametrize("asker", ASKERS)
def test_an_invalid_folder_is_refused_before_any_request(asker, place, sandbox):
    asked = len(sandbox.requests)
    with sandbox.client(cache=False) as client, pytest.raises(tf.SettingsError):
        ASKERS[asker](place, client)
    assert len(sandbox.requests) == asked


@pytest.mark.parametrize("asker", ASKERS)
def test_a_root_that_is_a_file_is_refused_before_any_request(asker, sandbox, tmp_path):
    file = tmp_path / "file"
    file.write_text("something else")
    asked = len(sandbox.requests)
    for place in (file, file / "below"):
        with (
            sandbox.client(cache=False) as client,
            pytest.raises(tf.SnapshotError, match="file is a file"),
        ):
            ASKERS[asker](place, client)
    assert len(sandbox.requests) == asked
    with pytest.raises(tf.SnapshotError, match="file is a file"):
        tf.list_snapshots(file)


@pytest.mark.parametrize("place", ["s3://bucket/x", "file:/x", "", "~there-is-no-such-user/x"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_reports_it_on_one_line(command, place, sandbox, monkeypatch, capsys):
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    asked = len(sandbox.requests)
    assert main([*COMMANDS[command], place]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("trackstar-frames: error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert len(sandbox.requests) == asked


@pytest.mark.skipif(sys.platform == "win32", reason="links are not for everybody there")
@pytest.mark.parametrize("asker", ASKERS)
def test_a_link_that_leads_nowhere_is_refused_before_any_request(asker, sandbox, tmp_path):
    asked = len(sandbox.requests)
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for place in (tmp_path / "broken", tmp_path / "loop" / "below"):
        with (
            sandbox.client(cache=False) as client,
            pytest.raises(tf.SnapshotError, match="is a link that leads nowhere"),
        ):
            ASKERS[asker](place, client)
        with pytest.raises(tf.SnapshotError, match="is a link that leads nowhere"):
            FRAMES.to_parquet(place)
    assert len(sandbox.requests) == asked


@pytest.mark.parametrize("name", ["orders.csv", "orders.XLSX", "o.json", "a.b.feather", "x.gz"])
def test_a_file_of_another_kind_is_not_what_is_written(name, sandbox, monkeypatch, tmp_path):
    for variable, value in sandbox.environment.items():
        monkeypatch.setenv(variable, value)
    asked = len(sandbox.requests)
    assert main(["fetch", "--output", str(tmp_path / name)]) == 2
    with pytest.raises(tf.SettingsError, match="is a folder of Parquet files"):
        tf.OrderFrames.from_json({"id": "a"}).to_parquet(tmp_path / name)
    assert len(sandbox.requests) == asked
    assert not (tmp_path / name).exists()
    for plain in ("orders.parquet", "orders.2026-11-28"):
        tf.OrderFrames.from_json({"id": "a"}).to_parquet(tmp_path / plain)


def test_a_folder_of_something_else_is_refused_before_any_request(sandbox, monkeypatch, tmp_path):
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    asked = len(sandbox.requests)
    assert main(["fetch", "--output", str(tmp_path / "mine")]) == 1
    assert len(sandbox.requests) == asked


def test_a_url_with_a_password_is_not_shown():
    for url in ("https://user:hush@host/x?sig=hush", "s3://key:hush@bucket"):
        with pytest.raises(tf.SettingsError) as got:
            local_folder(url, "root")
        assert "hush" not in str(got.value)


@pytest.mark.parametrize("url", ["https://user:hush@host/x.json?sig=hush", "s3://a:hush@b/x"])
def test_a_url_is_no_file_of_json(url):
    for source in (Path(url), [Path(url)]):
        with pytest.raises(tf.SettingsError, match="source is a URL") as got:
            tf.OrderFrames.from_json(source)
        assert "hush" not in str(got.value)
    with pytest.raises(tf.SettingsError, match="cannot be found"):
        tf.OrderFrames.from_json(Path("~there-is-no-such-user/x.json"))


@pytest.mark.parametrize(
    "place",
    [
        *("snapshots", "./a/b", "2026-01-01T00:00", "a:b", "a/b:c/d", "/data/file:x"),
        *("C:\\orders", "C:/orders", "c://orders", "/data/client A:/x", "//server/share"),
    ],
)
def test_a_path_is_no_url(place):
    assert local_folder(place, "root") == Path(place).absolute()
    assert local_folder(Path(place), "root") == Path(place).absolute()


def test_a_tilde_is_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tf.write_snapshot(FRAMES, "~/root").path.parent == tmp_path / "root"
    assert len(tf.read_snapshot("~/root").orders) == 1
    (tmp_path / "a.json").write_text('{"id": "a1"}')
    assert len(tf.OrderFrames.from_json(Path("~/a.json")).orders) == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_snapshot_whose_name_is_not_utf8_is_named(tmp_path):
    snapshot = tf.write_snapshot(FRAMES, tmp_path / "root")
    (tmp_path / "root" / "other\udcff").mkdir()
    assert len(tf.list_snapshots(tmp_path / "root")) == 1
    snapshot.path.rename(snapshot.path.with_name("mine\udcff"))
    for read in (tf.list_snapshots, tf.read_snapshot, tf.prune_snapshots):
        with pytest.raises(tf.SnapshotError, match="not UTF-8; rename it"):
            read(tmp_path / "root")


HOMELESS = """
import pwd
def unknown(uid): raise KeyError(uid)
pwd.getpwuid = unknown  # as in a container that runs under a number
import trackstar_frames as tf
known = {"api_key": "a-key", "access_token": "a-token"}
print(tf.TrackstarClient(**known, cache=False))
print(tf.TrackstarClient(**known, cache_dir="here"))
for wrong in ({}, {"cache_dir": "~/cache"}):
    try:
        print(tf.TrackstarClient(**known, **wrong))
    except tf.SettingsError as error:
        print("refused:", error)
from trackstar_frames.cli import main
print(main(["cache", "info"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="users of POSIX")
def test_a_user_without_a_home_needs_none(monkeypatch):
    monkeypatch.delenv("TRACKSTAR_CACHE_DIR")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, check=True
    )
    without, here, default, tilde, code = done.stdout.splitlines()
    assert "cache=False" in without
    assert f"cache='{Path.cwd() / 'here'}'" in here
    assert default.startswith("refused: this user has no home folder")
    assert "TRACKSTAR_CACHE_DIR" in default
    assert "cache=False" in default
    assert tilde.startswith("refused: cache_dir='~/cache' cannot be found")
    assert code == "2"
    assert done.stderr.count("\n") == 1
