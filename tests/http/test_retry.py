import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.http.retry import RetryPolicy
from trackstar_frames.sandbox import Fault

FIRST_PAUSE = 0.25


@pytest.fixture(autouse=True)
def _short_pauses():
    """Let pauses be as long as they are."""


def failing(errors):
    """Fail with each error in turn, then give True."""
    left = iter(errors)

    def ask():
        for error in left:
            raise error
        return True

    return ask


def refusal(seconds):
    return tf.RateLimitError("no", retryable=True, retry_after=seconds)


@given(
    requested=st.lists(st.none() | st.floats(0, 40), max_size=8),
    count=st.integers(0, 8),
    max_wait=st.floats(0, 60),
)
def test_attempts_and_waits_are_bounded(requested, count, max_wait):
    waits = []

    def wait(error, attempt, seconds):
        waits.append((error.retry_after, attempt, seconds))

    try:
        assert RetryPolicy(count, max_wait).run(failing(map(refusal, requested)), wait)
        assert len(waits) == len(requested)
    except tf.RateLimitError as error:
        waited = sum(seconds for *_, seconds in waits)
        needed = max(error.retry_after or 0, FIRST_PAUSE * 2 ** len(waits))
        assert len(waits) == count or waited + needed > max_wait
    assert sum(seconds for *_, seconds in waits) <= max_wait + 1e-9
    assert [attempt for _, attempt, _ in waits] == [*range(1, len(waits) + 1)]
    for retry_after, attempt, seconds in waits:
        grown = FIRST_PAUSE * 2 ** (attempt - 1)
        assert max(retry_after or 0, grown) <= seconds <= max(retry_after or 0, grown) + grown


@pytest.mark.parametrize(
    "error", [tf.AuthError("no"), tf.ResponseError("no"), ValueError("no"), KeyboardInterrupt()]
)
def test_permanent_errors_are_not_retried(error):
    with pytest.raises(type(error)) as caught:
        RetryPolicy(5, 30).run(failing([error]), pytest.fail)
    assert caught.value is error


def test_a_wait_of_exactly_max_wait_is_made(serve_with_client):
    sandbox, client = serve_with_client(
        Fault("status", status=429, retry_after=1, nth=1), client={"max_wait": 1, "retries": 1}
    )
    assert len(tf.fetch_orders_df(client=client)) == 60
    assert len(sandbox.requests) == 2
