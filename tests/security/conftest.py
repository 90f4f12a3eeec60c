"""A client that gives up soon, and a snapshot whose manifest can be made to lie."""

import json

import pytest

import trackstar_frames as tf


@pytest.fixture
def quick():
    """Make a client of some server that gives up soon."""

    def make(base_url, **options):
        given = {"rate_limit": None, "retries": 1, "max_wait": 1, "timeout": 0.5} | options
        return tf.TrackstarClient("key-0123456789", "token-9876543210", base_url=base_url, **given)

    return make


@pytest.fixture
def snapshot(tmp_path):
    """One of two orders."""
    orders = [{"id": "a1", "line_items": [{"sku": "x", "quantity": 2}]}, {"id": "a2"}]
    return tf.write_snapshot(tf.OrderFrames.from_json(orders), tmp_path / "snapshots")


@pytest.fixture
def rewrite():
    """Change what the manifest of a snapshot says."""

    def rewrite(snapshot, change):
        path = snapshot.path / "_trackstar_frames.json"
        said = json.loads(path.read_bytes())
        change(said)
        path.write_text(json.dumps(said))

    return rewrite
