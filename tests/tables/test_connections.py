"""What is told of where orders come from, when they are of several connections."""

import warnings

import pytest

import trackstar_frames as tf
from trackstar_frames import OrderFrames
from trackstar_frames.info import join_infos
from trackstar_frames.tables.assemble import concat

FAILED = {"beta": "AuthError: 401"}


def several(*labels, **reported):
    """Make an order of each connection."""
    each = {label: OrderFrames.from_json({"id": f"{label}-1"}) for label in labels}
    known = {"fetched_at": "2026-03-01T06:00:00+00:00", "pages": 2, "requests": 2}
    infos = {label: frames.info | known for label, frames in each.items()}
    tables = concat({label: frames.to_arrow() for label, frames in each.items()})
    return OrderFrames(tables, join_infos(infos).replace(**reported))


def text(frames):
    return frames._repr_html_()


def test_the_reprs_show_how_many_connections_there_are():
    frames = several("acme", "beta")
    assert repr(frames).endswith("; fetched_at=2026-03-01T06:00:00+00:00; 2 connections)")
    assert "<br>2 connections: acme, beta<br>" in text(frames)
    assert "fetched at 2026-03-01T06:00:00+00:00, the oldest: 4 pages" in text(frames)
    assert repr(several("acme")).endswith("; 1 connection)")
    assert "1 connection: acme<br>" in text(several("acme"))


def test_many_labels_are_counted():
    frames = several(*(f"c{number}" for number in range(8)))
    assert "8 connections: c0, c1, c2, c3, c4 and 3 more<" in text(frames)
    assert "c3" not in repr(frames)


def test_the_reprs_show_which_connections_failed():
    frames = several("acme", failed=FAILED)
    assert repr(frames).endswith("; 1 connection; failed: 'beta')")
    assert "FAILED, and missing or older: &#x27;beta&#x27; (AuthError: 401)" in text(frames)
    assert "FAILED" not in text(several("acme"))
    assert "failed" not in repr(several("acme", failed={}))


def test_labels_and_words_from_outside_are_escaped():
    frames = several("<b>acme</b>", failed={"<i>beta</i>": "<script>alert(1)</script>"})
    assert not any(tag in text(frames) for tag in ("<b>", "<i>", "<script>"))
    assert "&lt;b&gt;acme" in text(frames)
    assert "&lt;script&gt;alert(1)" in text(frames)


def test_one_connection_is_shown_without_a_label():
    frames = OrderFrames.from_json({"id": "a1"})
    assert repr(frames).endswith("0 problems; fetched_at=None)")
    assert "connection" not in text(frames)


@pytest.fixture
def holed(tmp_path):
    """Write a snapshot that lacks a connection."""
    return tf.write_snapshot(several("acme", "zen", failed=FAILED), tmp_path)


def test_every_way_of_reading_warns_of_connections_that_failed(holed):
    root = holed.path.parent
    words = (
        r"1 of 3 connections failed when this was written, and is missing or older: "
        r"'beta' \(AuthError: 401\); the same export or sync requests them again$"
    )
    for read in [
        lambda: OrderFrames.from_parquet(holed.path),
        holed.read,
        lambda: tf.read_snapshot(root),
        lambda: tf.diff_snapshots(holed, str(holed.path)),
        lambda: tf.due_date_changes(holed, holed),
    ]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read()
        assert caught
        for each in caught:
            assert each.category is UserWarning
            assert each.filename == __file__
        with pytest.warns(UserWarning, match=words):
            read()


def test_an_older_share_counts_once(tmp_path):
    snapshot = tf.write_snapshot(
        several("acme", "beta", failed=FAILED | {"zen": "ServerError: 500"}), tmp_path
    )
    words = r"2 of 3 connections failed .*, and are missing or older: 'beta' \(.*\), 'zen' \(Serv"
    with pytest.warns(UserWarning, match=words):
        assert snapshot.read().info["failed"].keys() == {"beta", "zen"}


def test_listing_warns_of_nothing(holed):
    assert len(tf.list_snapshots(holed.path.parent)) == 1
