"""Words of others: they steer no terminal, forge no line of a log, and name no file elsewhere."""

import json
import re
import traceback

import pytest
from helpers.servers import impatient_client, reply
from helpers.snapshots import edit_manifest

import trackstar_frames as tf
from trackstar_frames.cli import main

STEERING = "\x1b]0;owned\x07\x1b[2J\u202e\r\nINFO all is well"


def steers(text):
    return re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)


def test_server_text_cannot_control_the_terminal(raw_server, caplog):
    printed = json.dumps({"error": STEERING, "origin": STEERING}).encode()
    server = raw_server(lambda h: reply(h, printed, 503, X_Request_Id="id\x1b[31m\x9b2J"))
    caplog.set_level("INFO", "trackstar_frames")
    with pytest.raises(tf.ServerError, match="all is well") as caught:
        tf.fetch_orders(client=impatient_client(server.base_url))
    error = caught.value
    logged = [record.getMessage() for record in caplog.records if "waiting" in record.msg]
    assert logged
    for text in (str(error), error.error, error.origin, error.request_id, *logged):
        assert not steers(text)


def test_command_line_errors_cannot_control_the_terminal(raw_server, monkeypatch, capsys):
    printed = json.dumps({"error": STEERING}).encode()
    server = raw_server(lambda handler: reply(handler, printed, 422))
    monkeypatch.setenv("TRACKSTAR_BASE_URL", server.base_url)
    monkeypatch.setenv("TRACKSTAR_API_KEY", "k")
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", "t")
    assert main(["fetch"]) == 1
    assert main(["fetch", f"--connection={STEERING}", f"{STEERING}=1"]) == 2
    for line in capsys.readouterr().err.removesuffix("\n").split("\n"):
        assert line.startswith("trackstar-frames: error: ")
        assert not steers(line)


def test_a_function_that_quotes_its_token_is_not_quoted(serve_connections):
    sandbox = serve_connections(tokens=1)

    def refuse():
        raise KeyError(sandbox.access_token)

    with pytest.raises(tf.CredentialsError, match="raised KeyError") as caught:
        tf.fetch_orders(connections={"acme": refuse})
    assert caught.value.__context__ is None
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [line for line in shown.format() if "test_words" not in line]
    assert sandbox.access_token not in "".join(ours)


@pytest.mark.parametrize(
    "label", ["../../up", "/etc/passwd", "a\x00b\n", "..", STEERING, "漢" * 200, "🏭" * 200]
)
def test_a_label_becomes_a_name_under_its_root(snapshot, tmp_path, label):
    root = tmp_path / "root"
    for day in (1, 2):
        frames = snapshot.read()
        fetched_at = f"2026-01-0{day}T00:00:00+00:00"
        info = frames.info.replace(connection=label, fetched_at=fetched_at)
        written = tf.write_snapshot(tf.OrderFrames(frames.to_arrow(), info), root)
        assert written.path.parent == root
        assert re.fullmatch(r"[\w.-]+", written.name)
    tf.prune_snapshots(root, keep_last=1, keep_daily=0, keep_weekly=0, keep_monthly=0)
    assert [path.name for path in root.iterdir()] == [written.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "snapshots"]
    assert tf.read_snapshot(root).info["connection"] == label


def test_failures_in_a_manifest_cannot_control_the_terminal(snapshot):
    edit_manifest(snapshot, lambda printed: printed["info"].update(failed={STEERING: STEERING}))
    with pytest.warns(UserWarning, match="failed when this was written") as warned:
        frames = snapshot.read()
    assert not steers(str(warned[0].message))
    assert not steers(repr(frames) + frames._repr_html_())


def test_folder_names_cannot_control_the_terminal(snapshot):
    snapshot.path.rename(snapshot.path.with_name("\x1b[2J\nevil"))
    with pytest.raises(tf.SnapshotError, match="evil") as caught:
        tf.read_snapshot(snapshot.path.parent, "nowhere")
    assert not steers(str(caught.value))
