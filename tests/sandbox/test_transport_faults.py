"""Faults in transport: a response that is sent late, in part, or not at all."""

import gzip
import socket
import zlib
from urllib.parse import urlsplit

import pytest
import requests

from trackstar_frames.sandbox import Fault


def test_reset(start_faulty, get):
    sandbox = start_faulty(Fault("reset", nth=1))
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        get(sandbox)
    assert get(sandbox).json()["data"] == sandbox.orders
    assert [request.status for request in sandbox.requests] == [None, 200]


def test_cut(start_faulty, get):
    sandbox = start_faulty(Fault("cut", nth=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        get(sandbox)
    assert get(sandbox).json()["data"] == sandbox.orders


def test_hang(start_faulty, get):
    sandbox = start_faulty(Fault("hang", nth=1, seconds=60))
    with pytest.raises(requests.ReadTimeout):
        get(sandbox, timeout=0.1)
    assert get(sandbox).json()["data"] == sandbox.orders


def test_slow(start_faulty, get):
    sandbox = start_faulty(Fault("slow", seconds=0.05, pieces=4))
    assert get(sandbox).json()["data"] == sandbox.orders


def test_slow_begins_at_once(start_faulty, get):
    sandbox = start_faulty(Fault("slow", nth=1, seconds=240, pieces=4))
    came, error = bytes_until_the_end(sandbox, timeout=0.5)
    assert type(error) is TimeoutError
    whole = get(sandbox).content
    assert came.partition(b"\r\n\r\n")[2] == whole[: -(-len(whole) // 4)]


def bytes_until_the_end(sandbox, timeout=10):
    """Send one request by hand; return what came, and the error that ended it (or None)."""
    address = urlsplit(sandbox.base_url)
    came = b""
    with socket.create_connection((address.hostname, address.port), timeout=timeout) as connection:
        connection.sendall(
            f"GET /wms/orders HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"x-trackstar-api-key: {sandbox.api_key}\r\n"
            f"x-trackstar-access-token: {sandbox.access_token}\r\n\r\n".encode()
        )
        try:
            while part := connection.recv(1 << 16):
                came += part
        except (ConnectionResetError, TimeoutError) as error:
            return came, error
    return came, None


@pytest.mark.parametrize(
    ("kind", "end"),
    [("cut", type(None)), ("reset", ConnectionResetError), ("reset_mid", ConnectionResetError)],
)
def test_how_a_connection_ends(start_faulty, get, kind, end):
    sandbox = start_faulty(Fault(kind, nth=1))
    came, error = bytes_until_the_end(sandbox)
    assert type(error) is end
    whole = get(sandbox).content
    head, _, body = came.partition(b"\r\n\r\n")
    if kind == "reset":
        assert came == b""
    else:
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"Content-Length: %d" % len(whole) in head
        assert body == whole[: len(whole) // 2]


def test_reset_mid(start_faulty, get):
    sandbox = start_faulty(Fault("reset_mid", nth=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="reset by peer"):
        get(sandbox)
    assert get(sandbox).json()["data"] == sandbox.orders
    assert [request.status for request in sandbox.requests] == [200, 200]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["bad_gzip", "cut_gzip"])
def test_damaged_gzip(start_faulty, get, kind, compressed):
    sandbox = start_faulty(Fault(kind, nth=1), gzip=compressed)
    response = get(sandbox, stream=True)
    body = response.raw.read(decode_content=False)
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Content-Length"] == str(len(body))
    whole = get(sandbox).content
    if kind == "bad_gzip":
        assert body == whole
    else:
        with pytest.raises(EOFError):
            gzip.decompress(body)
        part = zlib.decompressobj(wbits=31).decompress(body)
        assert b"" != part == whole[: len(part)] != whole


def test_bad_gzip_cannot_be_decoded(start_faulty, get):
    with pytest.raises(requests.exceptions.ContentDecodingError):
        get(start_faulty(Fault("bad_gzip")))


@pytest.mark.parametrize("kind", ["reset_mid", "bad_gzip", "cut_gzip"])
def test_the_server_continues_after_any_fault(start_faulty, get, kind):
    sandbox = start_faulty(Fault(kind, times=30))
    for _ in range(30):
        get(sandbox, stream=True).close()
    assert get(sandbox).json()["data"] == sandbox.orders
