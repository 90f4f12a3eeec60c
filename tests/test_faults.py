from functools import partial

import pytest
from helpers import changing_server, reference
from helpers.marks import slow
from helpers.servers import client_of
from helpers.traffic import count_requests
from hypothesis import given
from hypothesis import strategies as st

import trackstar_frames as tf
from trackstar_frames.sandbox import Fault, Sandbox

BAD = {
    "no_data": tf.ResponseError,
    "null_data": tf.ResponseError,
    "error_in_200": tf.ResponseError,
    "data_not_list": tf.ResponseError,
    "item_not_object": tf.ResponseError,
    "not_object": tf.ResponseError,
    "not_json": tf.ResponseError,
    "absent_token_mid": tf.ResponseError,
    "empty_token": tf.ResponseError,
    "bad_token_type": tf.ResponseError,
    "repeat_token": tf.ResponseError,
    "loop_token": tf.ResponseError,
    "cut": tf.NetworkError,
    "reset": tf.NetworkError,
    "reset_mid": tf.NetworkError,
    "bad_gzip": tf.NetworkError,
    "cut_gzip": tf.ResponseError,
    "html 200": tf.ResponseError,
    "html 502": tf.ServerError,
    "redirect": tf.ApiError,
    "status 400": tf.ApiError,
    "status 401": tf.AuthError,
    "status 403": tf.AuthError,
    "status 404": tf.ApiError,
    "status 410": tf.ApiError,
    "status 422": tf.ApiError,
    "status 429": tf.RateLimitError,
    "status 500": tf.ServerError,
    "status 501": tf.NotSupportedError,
    "status 503": tf.ServerError,
}
HARMLESS = ["empty_page", "short_page", "duplicate", "wrong_count", "absent_token_end", "slow"]
CHANGES = ["new_order", "gone_order"]
#: Answers to a cursor that the server does not know any more: the listing begins anew, once.
DEAD = ["status 400", "status 404", "status 410", "status 422"]


def fault_of(name, **rule):
    kind, _, status = name.partition(" ")
    more = {"status": int(status)} if status else {}
    if kind == "redirect":
        more["to"] = "http://127.0.0.1:9/"
    if kind == "slow":
        more["seconds"] = 0.05
    return Fault(kind, **more, **rule)


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("lasting", "name"),
    [
        *((True, name) for name in sorted({*BAD} & {*DEAD})),
        *((False, name) for name in sorted({*BAD} - {*DEAD})),
        *(slow(True, name) for name in sorted({*BAD} - {*DEAD})),
    ],
)
def test_on_a_later_page_what_was_read_is_kept(serve_with_client, name, lasting):
    where = {"first_page": False} if lasting else {"nth": 3}
    sandbox, client = serve_with_client(fault_of(name, **where), client={"retries": 0})
    with pytest.raises(tf.IncompleteFetchError) as caught:
        tf.fetch_orders(client=client, page_size=15)
    error = caught.value
    assert type(error.__cause__) is BAD[name]
    assert 1 <= error.pages <= 4
    reference.assert_frames_are_part(error.frames, sandbox.orders)
    assert len(error.frames.orders) < 60
    if lasting:
        for _ in range(2):
            with pytest.raises(tf.IncompleteFetchError) as caught:
                error.resume()
            reference.assert_frames_are_part(caught.value.frames, sandbox.orders)
            assert len(caught.value.frames.orders) < 60
    elif name == "loop_token":  # the page that led back was good but for that, and is on disk
        again = tf.fetch_orders(client=client, page_size=15, refresh=True)
        reference.assert_frames_hold(again, sandbox.orders)
    else:
        for _ in range(2):
            reference.assert_frames_hold(error.resume(), sandbox.orders)


@pytest.mark.parametrize("name", DEAD)
def test_one_expired_cursor_is_no_error(serve_with_client, caplog, name):
    sandbox, client = serve_with_client(fault_of(name, nth=3), client={"retries": 0})
    frames = tf.fetch_orders(client=client, page_size=15)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert count_requests(sandbox.requests) == (
        3 + 4,
        2,
    )  # the first two were on disk, and do not count
    assert (frames.info["pages"], frames.info["from_cache"]) == (4, 0)
    assert frames.info["duplicates"] == 0
    (record,) = caplog.records
    assert "does not know the cursor of page 3 any more" in record.getMessage()


@pytest.mark.one_of(4)
@pytest.mark.parametrize("name", sorted(BAD.keys() - {"repeat_token", "loop_token"}))
def test_on_the_first_page_it_is_the_cause_itself(serve_with_client, name):
    sandbox, client = serve_with_client(fault_of(name, nth=1), client={"retries": 0})
    with pytest.raises(BAD[name]) as caught:
        tf.fetch_orders_df(client=client, page_size=15)
    assert type(caught.value) is BAD[name]
    reference.assert_frames_hold(tf.fetch_orders(client=client, page_size=15), sandbox.orders)


def test_a_repeated_token_is_an_error(serve_with_client):
    sandbox, client = serve_with_client(Fault("loop_token"))
    with pytest.raises(tf.IncompleteFetchError, match="twice"):
        tf.fetch_orders(client=client, page_size=15)
    assert len(sandbox.requests) <= 4


@pytest.mark.parametrize("name", ["no_token", "absent_token_mid"])
def test_an_absent_token_beside_a_full_page_is_no_end(serve_with_client, name):
    _, client = serve_with_client(Fault(name))
    for page_size in (15, 20, 58):
        with pytest.raises(tf.ResponseError, match="absent on a full page"):
            tf.fetch_orders(client=client, page_size=page_size)


def test_the_request_that_proves_the_end_may_return_the_rest(serve_with_client):
    sandbox, client = serve_with_client(Fault("absent_token_mid"))
    reference.assert_frames_hold(tf.fetch_orders(client=client, page_size=59), sandbox.orders)
    assert count_requests(sandbox.requests) == (2, 0)


@pytest.mark.parametrize("name", [*HARMLESS, *CHANGES])
def test_valid_listings_are_read_to_the_end(serve_with_client, name):
    sandbox, client = serve_with_client(fault_of(name, nth={1, 3, 4}))
    frames = tf.fetch_orders(client=client, page_size=16)
    reference.assert_frames_hold(frames, sandbox.orders)


def test_an_order_that_changes_meanwhile_is_taken_as_it_is_at_last(serve_with_client):
    fault = Fault("changed_order", change={"status": "other"})
    sandbox, client = serve_with_client(fault, order="updated_date")
    frames = tf.fetch_orders(client=client, page_size=15)
    assert frames.info["duplicates"] > 0
    reference.assert_frames_hold(frames, sandbox.orders)


@pytest.mark.each_value
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("order", ["inserted", "created_date"])
def test_parts_may_change_while_others_are_read(serve_with_client, name, order):
    sandbox, client = serve_with_client(Fault(name, every=3), order=order)
    before = sandbox.orders
    frames = tf.fetch_orders(client=client, page_size=7, created_date__gte="2000-01-01")
    assert len(sandbox.orders) != 60
    received = reference.received(frames, before, sandbox.orders)
    assert not received or name == "gone_order"
    reference.assert_frames_hold(frames, sandbox.orders + received)


def test_a_server_that_forgets_the_dates_behind_a_token(serve_with_client):
    sandbox, client = serve_with_client(Fault("ignores_dates", first_page=False))
    frames = tf.fetch_orders(client=client, page_size=7, created_date__gte="2000-01-01")
    assert frames.info["duplicates"] > 0
    reference.assert_frames_hold(frames, sandbox.orders)


@pytest.mark.parametrize("kind", ["reset_mid", "bad_gzip", "cut_gzip"])
def test_a_damaged_response_is_requested_again(serve_with_client, kind):
    sandbox, client = serve_with_client(Fault(kind, nth=2))
    frames = tf.fetch_orders(client=client, page_size=30)
    reference.assert_frames_hold(frames, sandbox.orders)
    assert count_requests(sandbox.requests) == (3, 2)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", HARMLESS)
def test_valid_listings_are_read_to_the_end_in_windows_too(serve_with_client, name):
    sandbox, client = serve_with_client(fault_of(name, nth={1, 3, 4}))
    frames = tf.fetch_orders(client=client, page_size=7, created_date__gte="2000-01-01")
    reference.assert_frames_hold(frames, sandbox.orders)


@pytest.mark.each_value
@pytest.mark.parametrize("first_page", [None, True, False])
@pytest.mark.parametrize("every", [None, 3])
def test_a_server_that_ignores_the_dates_gives_every_order_once(
    serve_with_client, first_page, every
):
    sandbox, client = serve_with_client(Fault("ignores_dates", first_page=first_page, every=every))
    frames = tf.fetch_orders(client=client, page_size=7, created_date__gte="2000-01-01")
    reference.assert_frames_hold(frames, sandbox.orders)


@pytest.mark.parametrize("filters", [{}, {"created_date__gte": "2000-01-01"}], ids=["one", "parts"])
def test_the_same_orders_under_ever_new_tokens_have_no_end(serve_with_client, filters):
    sandbox, client = serve_with_client(Fault("same_orders"))
    with pytest.raises(tf.IncompleteFetchError, match="3 pages in a row") as caught:
        tf.fetch_orders(client=client, page_size=15, **filters)
    reference.assert_frames_are_part(caught.value.frames, sandbox.orders)
    assert filters or len(sandbox.requests) == 5


def test_empty_pages_between_the_same_orders_make_no_end():
    orders = [changing_server.order(number, changing_server.START) for number in range(3)]
    shop = changing_server.Shop([])
    shop.before = lambda at: (200, {"data": orders if at % 2 else [], "next_token": f"t{at}"})
    with (
        client_of(shop) as client,
        pytest.raises(tf.IncompleteFetchError, match="3 pages in a row"),
    ):
        tf.fetch_orders(client=client)
    assert len(shop.asked) == 9  # the first page of all is asked for by itself


@pytest.mark.slow
def test_empty_pages_may_come_but_not_for_ever(serve_with_client):
    _, client = serve_with_client(Fault("empty_page", times=30))
    assert len(tf.fetch_orders_df(client=client, page_size=15)) == 60
    sandbox, client = serve_with_client(Fault("empty_page"))
    with pytest.raises(tf.IncompleteFetchError, match="more than 1000 empty pages"):
        tf.fetch_orders_df(client=client, page_size=15)
    assert len(sandbox.requests) == 1002  # the first page of all is asked for by itself


#: All ask for every order: in one chain, or in parts.
QUESTIONS = [
    {},
    {"created_date__gte": "2000-01-01"},
    {"created_date__lte": "2100-01-01"},
    {"created_date__gt": "2026-01-01", "created_date__lt": "2027-01-01"},
]
RULES = st.builds(
    fault_of,
    st.sampled_from(sorted({*BAD, *HARMLESS} - {"status 429", "redirect"})),
    nth=st.none() | st.sets(st.integers(1, 25), min_size=1, max_size=4),
    every=st.none() | st.integers(2, 4),
    times=st.integers(1, 3),
    first_page=st.none() | st.booleans(),
)


# Hundreds, in the slow run: any fault may meet any other.
@pytest.mark.slow
@given(
    faults=st.lists(RULES, max_size=4),
    page_size=st.sampled_from([1, 7, 20, 60, 1000]),
    retries=st.integers(0, 1),
    cache=st.booleans(),
    gzip=st.booleans(),
    filters=st.sampled_from(QUESTIONS),
    order=st.sampled_from(["inserted", "created_date", "updated_date_desc"]),
)
def test_any_mixture_of_faults_gives_all_orders_or_an_error(
    some_orders, tmp_path_factory, *, page_size, retries, cache, filters, **drawn
):
    orders = some_orders[: 12 if page_size == 1 else 60]
    with Sandbox(orders=orders, rate_limit=None, **drawn) as sandbox:
        options = {"rate_limit": None, "retries": retries, "timeout": 5, "max_wait": 1}
        folder = tmp_path_factory.mktemp("cache")
        client = sandbox.client(cache=cache, cache_dir=folder, **options)
        fetch = partial(tf.fetch_orders, client=client, page_size=page_size, **filters)
        again = fetch
        for turn in range(30):
            try:
                frames = again()
            except tf.IncompleteFetchError as error:
                reference.assert_frames_are_part(error.frames, orders)
                # A page that leads back stays on disk until it is asked anew.
                again = error.resume if turn < 3 else partial(fetch, refresh=True)
            except tf.TrackstarError:
                again = fetch
            else:
                break
        client.close()
    reference.assert_frames_hold(frames, orders)
