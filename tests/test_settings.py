import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import trackstar_frames as tf
from trackstar_frames.settings import Credentials, Masked, cache_dir


def client(**options):
    return tf.TrackstarClient("key", "token", **options)


WRONG = [
    {"base_url": 5},
    {"base_url": ""},
    {"base_url": "production.trackstarhq.com"},
    {"base_url": "ftp://production.trackstarhq.com"},
    {"base_url": "http://production.trackstarhq.com"},
    {"base_url": "http://127.0.0.1.example.com"},
    {"base_url": "http://0.0.0.0"},
    {"base_url": "http://192.168.0.1"},
    {"base_url": "http://localhost.example.com"},
    {"base_url": "http://127.0.0.1\\.example.com"},
    {"base_url": "https://user:password@host"},
    {"base_url": "https://user@host"},
    {"base_url": "https://host?x=1"},
    {"base_url": "https://host?"},
    {"base_url": "https://host#"},
    {"base_url": "https://host/#x"},
    {"base_url": "https://ho st"},
    {"base_url": "https://host\n"},
    {"base_url": " https://host"},
    {"base_url": "https://"},
    {"base_url": "https://host:port"},
    {"base_url": "https://host:99999"},
    {"base_url": "https://[::1"},
    {"connection": 5},
    {"connection": ""},
    {"cache": None},
    {"cache": 1},
    {"cache": "yes"},
    {"cache_dir": 5},
    {"cache_dir": ""},
    {"cache_dir": b"/tmp"},
    {"cache_dir": "/tmp/a\0b"},
    {"cache_dir": "~there-is-no-such-user/x"},
    {"expire_after": 0},
    {"expire_after": -1},
    {"expire_after": float("nan")},
    {"expire_after": float("inf")},
    {"expire_after": "1h"},
    {"expire_after": None},
    {"expire_after": True},
    {"rate_limit": 0},
    {"rate_limit": -1},
    {"rate_limit": 2.5},
    {"rate_limit": 1001},
    {"rate_limit": True},
    {"rate_limit": "10"},
    {"timeout": 0},
    {"timeout": -1},
    {"timeout": None},
    {"timeout": (1, 2)},
    {"timeout": float("inf")},
    {"retries": -1},
    {"retries": 1.5},
    {"retries": None},
    {"retries": True},
    {"max_wait": -0.5},
    {"max_wait": float("nan")},
    {"max_wait": None},
]


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_invalid_settings_are_refused(options):
    with pytest.raises(tf.SettingsError, match=next(iter(options))) as caught:
        client(**options)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "url", ["https://u:hunter2@host", "https://u:hunter2@host:port", "https://u:hunter2@[x"]
)
def test_a_password_in_the_url_is_not_repeated(url, monkeypatch):
    with pytest.raises(tf.SettingsError) as caught:
        client(base_url=url)
    monkeypatch.setenv("TRACKSTAR_BASE_URL", url)
    with pytest.raises(tf.SettingsError) as again:
        client()
    assert "hunter2" not in str(caught.value) + str(again.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://production.trackstarhq.com",
        "https://host:8443/prefix/",
        "http://127.0.0.1:5000",
        "http://127.8.8.8",
        "http://localhost:5000/",
        "http://[::1]:5000",
    ],
)
def test_what_may_be_a_base_url(url):
    assert client(base_url=url).settings.base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("spellings", "url"),
    [
        (["HTTP://LOCALHOST", "http://localhost:80/", "http://localhost:"], "http://localhost"),
        (
            ["HTTPS://Host.example", "https://HOST.example:443/", "https://host.example:0443//"],
            "https://host.example",
        ),
        (["https://host.example:80/"], "https://host.example:80"),
        (["https://host/Prefix/", "HTTPS://HOST:443/Prefix"], "https://host/Prefix"),
        (
            ["https://w\u00e4rehouse.example", "https://XN--wrehouse-0za.example"],
            "https://xn--wrehouse-0za.example",
        ),
        (["HTTPS://[FE80::1]:443"], "https://[fe80::1]"),
    ],
)
def test_a_server_has_one_name_and_one_budget(spellings, url):
    clients = [client(base_url=spelling) for spelling in [*spellings, url]]
    assert {each.settings.base_url for each in clients} == {url}
    assert len({each.session.budget for each in clients}) == 1
    assert len({each.session._key("/wms/orders", {}) for each in clients}) == 1


@pytest.mark.parametrize(
    "url", ["https://\u2603.example", "https://a\u00a0b", "https://host:99999"]
)
def test_a_host_that_cannot_be_looked_up_is_refused(url):
    with pytest.raises(tf.SettingsError, match="base_url"):
        client(base_url=url)


FETCH_WRONG = [
    {"page_size": 0},
    {"page_size": 1001},
    {"page_size": 1.5},
    {"page_size": "7"},
    {"page_size": None},
    {"page_size": True},
    {"max_workers": 0},
    {"max_workers": 33},
    {"max_workers": None},
    {"max_workers": True},
    {"limit": 0},
    {"limit": -1},
    {"limit": 2.0},
    {"limit": "all"},
    {"limit": True},
    {"refresh": 1},
    {"refresh": "no"},
    {"refresh": None},
    {"offline": 0},
    {"offline": "no"},
    {"progress": "yes"},
    {"progress": 1},
    {"client": "key"},
    {"client": {"api_key": "key"}},
    {"snapshot": 5},
    {"snapshot": True},
    {"refresh": True, "offline": True},
]


@pytest.mark.parametrize("options", FETCH_WRONG, ids=str)
def test_invalid_fetch_options_are_refused_before_any_request(serve, options):
    sandbox = serve()
    with pytest.raises(tf.SettingsError, match=next(iter(options))):
        tf.fetch_orders_df(**{"client": sandbox.client()} | options)
    if options.keys() <= {"page_size", "refresh", "offline"}:
        with pytest.raises(tf.SettingsError, match=next(iter(options))):
            sandbox.client().iter_pages(**options)
    assert not sandbox.requests


def test_offline_needs_a_cache(serve):
    sandbox = serve()
    with pytest.raises(tf.SettingsError, match="cache=False"):
        tf.fetch_orders_df(client=sandbox.client(cache=False), offline=True)
    with pytest.raises(tf.SettingsError, match="cache=False"):
        sandbox.client(cache=False).iter_pages(offline=True)
    assert not sandbox.requests


@pytest.mark.parametrize("token", ["", 5, b"x"])
def test_a_page_token_is_text(serve, token):
    sandbox = serve()
    with pytest.raises(tf.FilterError, match="page_token"):
        sandbox.client().iter_pages(token)
    assert not sandbox.requests


def test_numbers_of_numpy_are_numbers(serve):
    sandbox = serve()
    made = sandbox.client(timeout=np.float32(5), rate_limit=np.int64(50), retries=np.int8(1))
    frame = tf.fetch_orders_df(client=made, page_size=np.int64(7), limit=np.int32(9))
    assert len(frame) == 9
    assert type(frame.attrs["trackstar"]["limit"]) is int


def test_a_typo_of_a_client_option_is_an_error():
    with pytest.raises(TypeError, match="ratelimit"):
        client(ratelimit=5)


def test_the_documented_defaults():
    made = client().settings
    assert made.base_url == "https://production.trackstarhq.com"
    assert (made.rate_limit, made.timeout, made.retries, made.max_wait) == (10, 30, 5, 30)
    assert (made.cache, made.expire_after, made.connection) == (True, 3600, None)


def test_arguments_go_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKSTAR_BASE_URL", "https://from.environment")
    monkeypatch.setenv("TRACKSTAR_CACHE_DIR", "~/from environment")
    assert client().settings.base_url == "https://from.environment"
    assert client().settings.cache_dir == Path.home() / "from environment"
    assert client(base_url="https://given").settings.base_url == "https://given"
    assert client(cache_dir=tmp_path).settings.cache_dir == tmp_path
    monkeypatch.setenv("TRACKSTAR_CACHE_DIR", "")
    assert cache_dir().name == "trackstar_frames"


@pytest.mark.parametrize(
    ("key", "token", "message"),
    [
        ("", "t", "api_key is missing"),
        ("  ", "t", "api_key is missing"),
        (None, "t", "TRACKSTAR_API_KEY"),
        ("k", None, "TRACKSTAR_ACCESS_TOKEN"),
        ("k", "", "access_token is missing"),
        (5, "t", "int"),
        (b"k", "t", "bytes"),
        ("k", "a b", "space"),
        ("k", "a\nb", "space"),
        ("k", "a\r\nx-evil: 1", "space"),
        ("k", "tökén", "character"),
    ],
)
def test_unusable_credentials(key, token, message):
    with pytest.raises(tf.CredentialsError, match=message) as caught:
        tf.TrackstarClient(key, token)
    assert isinstance(caught.value, ValueError)


def test_a_secret_is_sent_without_the_space_around_it(monkeypatch):
    monkeypatch.setenv("TRACKSTAR_API_KEY", " k\n")
    found = Credentials.resolve(None, "\tt ")
    assert (found.api_key == "k", found.access_token == "t") == (True, True)


def test_a_masked_text_is_not_shown():
    secret = Masked("hunter2")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>9}",
        "%s" % secret,  # noqa: UP031 -- a way of its own
        format(secret),
    ]
    assert all("hunter2" not in text for text in shown)
    assert secret.encode() == b"hunter2"
    for spill in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(tf.CredentialsError):
            spill(secret)


def test_scrubbing_takes_the_longer_secret_first():
    credentials = Credentials.resolve("token+more/x", "token")
    for text in ("token+more/x", "token%2Bmore%2Fx", "is token+more/x token"):
        assert not {"token", "more"} & set(credentials.scrub(text).replace("***", " ").split())


def test_fingerprints_differ_by_each_secret():
    made = {
        Credentials.resolve(key, token).fingerprint(text)
        for key in ("k", "k2")
        for token in ("t", "t2")
        for text in ("x", "y")
    }
    assert len(made) == 8
