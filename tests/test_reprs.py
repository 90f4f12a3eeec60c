"""What notebooks show: what there is, how fresh, what was left out, and no secret."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.schema import TABLES
from trackstar_frames.snapshots.manifest import MANIFEST_NAME


class Cells(HTMLParser):
    """Read the rows of all tables, and make sure that every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self._open = [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, _):
        if tag != "br":
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] in (["th"], ["td"]):
            self.rows[-1][-1] += data


def cells(thing):
    return {row[0]: row[1:] for row in Cells(thing._repr_html_()).rows}


@pytest.fixture
def snapshot(shared_sandbox, tmp_path):
    """Export the orders of one status."""
    client = shared_sandbox.client(connection="acme")
    return tf.export_orders(tmp_path / "root", client=client, status="fulfilled")


def test_a_snapshot_shows_what_it_holds(snapshot):
    frames, reported = snapshot.read(), cells(snapshot)
    assert list(reported) == ["table", *TABLES]
    for name, (grain, rows, files, size) in list(reported.items())[1:]:
        assert grain == TABLES[name].grain
        assert rows == f"{len(getattr(frames, name)):,}"
        assert files == str(len(snapshot.files[name]))
        assert size == f"{sum(file.stat().st_size for file in snapshot.files[name]) / 1e6:.2f}"


def test_a_snapshot_shows_how_fresh_it_is_and_what_was_requested(snapshot):
    text = snapshot._repr_html_()
    moment = snapshot.info["fetched_at"][:19].replace("T", " ")
    assert f"<strong>Snapshot {snapshot.name}</strong>" in text
    assert f"in {snapshot.path}<br>as of {moment} UTC, written " in text
    assert "requested: status=&#x27;fulfilled&#x27;<br>connection: acme" in text
    assert "FAILED" not in text


def test_a_snapshot_shows_its_sync(tmp_path):
    with Sandbox(orders=60, rate_limit=None) as sandbox, sandbox.client() as client:
        first = tf.sync_orders(tmp_path, client=client)
        changes = sandbox.advance(hours=24, new=2)
        second = tf.sync_orders(tmp_path, client=client)
    assert "synced: 60 new, 0 changed, 0 unchanged" in first._repr_html_()
    assert (
        f"synced from {first.name}: 2 new, {len(changes.changed)} changed" in second._repr_html_()
    )


def test_a_snapshot_shows_which_connections_failed(serve_connections, tmp_path, monkeypatch):
    sandbox = serve_connections()
    monkeypatch.setenv("SANDBOX_TOKEN_1", "not-a-token")
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.export_orders(tmp_path, connections=sandbox.connections)
    text = caught.value.snapshot._repr_html_()
    assert "2 connections: customer-0, customer-2" in text
    assert "FAILED, and missing or older: &#x27;customer-1&#x27; (AuthError" in text


def test_a_snapshot_reads_its_manifest_only(snapshot):
    before = snapshot._repr_html_()
    for name in TABLES:
        shutil.rmtree(snapshot.path / name)
    assert snapshot._repr_html_() == before


def test_a_snapshot_that_is_gone_or_damaged_says_so(snapshot):
    read_manifest = snapshot.path / MANIFEST_NAME
    message = json.loads(read_manifest.read_bytes())
    read_manifest.write_text(json.dumps(message | {"info": {}}))
    assert re.search(rf"{re.escape(str(snapshot.path))} .*is damaged: ", snapshot._repr_html_())
    shutil.rmtree(snapshot.path)
    assert f"there is no snapshot at {snapshot.path}" in snapshot._repr_html_()


def test_a_client_shows_what_it_does_and_no_secret(shared_sandbox, tmp_path):
    with shared_sandbox.client(
        connection="acme", cache_dir=tmp_path / "kept", expire_after=7200
    ) as client:
        empty = cells(client)["cache"]
        tf.fetch_orders(client=client)
        reported, text = cells(client), client._repr_html_()
    size = sum(file.stat().st_size for file in (tmp_path / "kept").rglob("*") if file.is_file())
    assert size > 10_000
    assert empty[0].startswith(f"{tmp_path / 'kept'}: 0.00 MB of all clients")
    assert reported["base URL"] == [shared_sandbox.base_url]
    assert reported["connection"] == ["acme"]
    assert reported["rate"] == ["10 requests a second, per access token"]
    assert re.search(r"kept: 0\.[0-9]*[1-9][0-9]* MB of all .* after 7,200 s", reported["cache"][0])
    assert shared_sandbox.api_key not in text
    assert shared_sandbox.access_token not in text


def test_a_client_without_cache_rate_or_label_says_so():
    reported = cells(tf.TrackstarClient("key", "token", cache=False, rate_limit=None))
    assert reported["cache"] == ["none: nothing is kept on disk"]
    assert reported["rate"] == ["no limit"]
    assert reported["connection"] == ["no label"]


def test_the_repr_of_a_client_creates_no_file(tmp_path):
    tf.TrackstarClient("key", "token", cache_dir=tmp_path / "kept")._repr_html_()
    assert not (tmp_path / "kept").exists()


def test_the_repr_of_a_policy_shows_its_text_and_fields():
    policy = tf.SlaPolicy(
        cut_off="12:00",
        holidays=[f"2026-{month:02}-01" for month in range(1, 13)],
        tz={"w<1>": "Asia/Tokyo", None: "UTC"},
    )
    reported = cells(policy)
    assert reported.keys() == {"field", "cut_off", "holidays", "tz"}
    assert reported["tz"] == ["w<1>: Asia/Tokyo, all others: UTC"]
    assert reported["holidays"][0].endswith("2026-10-01 and 2 more")
    assert "w&lt;1&gt;" in policy._repr_html_()
    assert tf.SlaPolicy().text in tf.SlaPolicy()._repr_html_()
    assert cells(tf.SlaPolicy()) == {}


def test_frames_show_their_tables(shared_sandbox):
    frames = tf.fetch_orders(client=shared_sandbox.client())
    reported = cells(frames)
    assert list(reported) == ["table", *TABLES]
    assert reported["orders"][:3] == ["one order", "350", str(len(frames.orders.columns))]


def test_lazy_frames_show_their_partitions(snapshot):
    lazy = tf.read_snapshot_dask(snapshot.path.parent)
    reported = cells(lazy)
    assert reported["orders"] == ["one order", "1", str(len(lazy.orders.columns))]
    assert "requested: status" in lazy._repr_html_()


@pytest.mark.parametrize("theme", ["color:", "background", "#", "rgb"])
def test_cards_set_no_colour_of_their_own(snapshot, shared_sandbox, theme):
    for thing in (
        snapshot,
        shared_sandbox.client(),
        tf.SlaPolicy(cut_off="12:00"),
        snapshot.read(),
    ):
        styles = " ".join(re.findall(r"style='([^']*)'", thing._repr_html_()))
        assert theme not in styles.replace("color:inherit", "")
