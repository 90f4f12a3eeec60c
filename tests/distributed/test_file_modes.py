"""Whatever the workers write, their user alone can read."""

import os
import stat

import pytest

import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox


@pytest.mark.slow
def test_files_of_workers_are_readable_by_their_user_only(
    start_cluster, vault, tmp_path, monkeypatch
):
    assert vault
    with Sandbox(orders=60, tokens=2, rate_limit=None) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        with start_cluster(sandbox) as running:
            running.client.run(os.umask, 0)
            before = os.umask(0)
            try:
                snapshot = tf.export_orders(
                    tmp_path, connections=sandbox.connections, dask_client=running.client
                )
            finally:
                os.umask(before)
    written = [snapshot.path, *snapshot.path.rglob("*")]
    assert len(written) > 16
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
