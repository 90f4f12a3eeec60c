"""Threads that outlive the main one get an error in plain words, before anything is asked."""

import subprocess
import sys

import pytest

import trackstar_frames as tf
from trackstar_frames.pagination.threads import ThreadPool, starting

LATE = """
import sys, threading
import trackstar_frames as tf
from trackstar_frames.sandbox import Sandbox

root = sys.argv[1]
sandbox = Sandbox(orders=30, rate_limit=None)
sandbox.start()
client = sandbox.client(cache=False)
frames = tf.fetch_orders(client=client)
tf.sync_orders(root, client=client)
asked = len(sandbox.requests)
calls = {
    "from_json": lambda: tf.OrderFrames.from_json({"id": "a"}),
    "fetch": lambda: tf.fetch_orders(client=client, page_size=10),
    "with a bar": lambda: tf.fetch_orders(client=client, progress=True),
    "windows": lambda: tf.fetch_orders_df(client=client, created_date__gte="2020-01-01"),
    "export": lambda: tf.export_orders(root, client=client),
    "sync": lambda: tf.sync_orders(root, client=client),
    "write": lambda: tf.write_snapshot(frames, root),
    "read": lambda: tf.read_snapshot(root),
}

def late():
    threading.main_thread().join()
    for name, call in calls.items():
        try:
            call()
            print(name, "done")
        except BaseException as error:
            print(name, type(error).__name__, "main thread has ended" in str(error))
    print(len(sandbox.requests) - asked, "requests")
    sandbox.stop()

threading.Thread(target=late).start()
"""


def test_a_thread_that_outlives_the_main_one_gets_an_error_that_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *message, requests = done.stdout.splitlines()
    assert len(message) == 8
    assert all(line.endswith("TrackstarError True") for line in message), done.stdout
    assert requests == "0 requests"
    assert "Traceback" not in done.stderr


def test_another_reason_is_quoted():
    with (
        pytest.raises(tf.TrackstarError, match="no thread can be started: can't start new"),
        starting(),
    ):
        raise RuntimeError("can't start new thread")
    with ThreadPool(1) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
    with pytest.raises(tf.TrackstarError, match="no thread can be started"):
        pool.submit(abs, 1)
