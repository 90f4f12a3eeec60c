"""Waiting for another thread or process."""

import time


def wait_until(condition):
    """Wait, a minute at most, until a condition holds, and return what it returned."""
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition never holds"
        time.sleep(0.001)
    return found
