"""Servers and proxies that mean harm: what is sent to them, and what their answers can do."""

import gzip
import socket
import ssl
import threading
import time
import traceback
import zlib
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers.servers import impatient_client, reply

import trackstar_frames as tf

PIECES = 60  # of what drips
GOOD = b'{"data": [], "next_token": null}'


@pytest.mark.parametrize(
    "to",
    [
        "////127.0.0.1:{other}/",
        "http:////127.0.0.1:{other}/",
        "\t////127.0.0.1:{other}/",
        "http://127.0.0.1:{other}\\@127.0.0.1:{own}/",
        "http://127.0.0.1:{own}@127.0.0.1:{other}/",
        "http:\\\\127.0.0.1:{other}/",
        "/\\127.0.0.1:{other}/",
        "//127.0.0.1:{other}",
        "http:127.0.0.1:{other}",
        "http://127.0.0.1:{other}#@127.0.0.1:{own}/",
    ],
)
def test_no_spelling_of_a_redirect_leads_to_another_server(raw_server, to):
    thief = raw_server(reply)

    def respond(handler):
        ports = {"own": handler.server.server_port, "other": urlsplit(thief.base_url).port}
        reply(handler, b"", 302, Location=to.format(**ports))

    with pytest.raises(tf.TrackstarError):
        tf.fetch_orders(client=impatient_client(raw_server(respond).base_url))
    assert not thief.seen


@pytest.mark.parametrize(
    "host", ["wärehouse.example", "WAREHOUSE.example", "warehouse.example:443"]
)
def test_a_host_is_the_same_however_it_is_spelt(raw_server, monkeypatch, host):
    monkeypatch.setenv("HTTPS_PROXY", raw_server(reply).base_url)
    with pytest.raises(
        tf.NetworkError, match="Tunnel connection failed: 501"
    ):  # it had the request
        tf.fetch_orders(client=impatient_client(f"https://{host}", retries=0, timeout=5))


def drip(handler, start, piece, end):
    """Write a piece now and then, far beyond every timeout, and end well at last."""
    handler.wfile.write(start)
    for _ in range(PIECES):
        yield handler.wfile.write(piece)
        time.sleep(0.1)
    handler.wfile.write(end)


def body(*headers):
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode()


NOTHING = zlib.compressobj().flush(zlib.Z_SYNC_FLUSH)
LENGTH = f"Content-Length: {len(GOOD)}"
DRIPS = {
    "a header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", f"\r\n{LENGTH}\r\n\r\n".encode() + GOOD),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", body(LENGTH) + GOOD),
    "a chunk's length": (
        body("Transfer-Encoding: chunked") + b"%x;" % len(GOOD),
        b"a",
        b"\r\n%b\r\n0\r\n\r\n" % GOOD,
    ),
    "what unpacks to nothing": (
        body("Content-Encoding: deflate", "Connection: close") + NOTHING,
        b"\x00\x00\x00\xff\xff",
        zlib.compress(GOOD)[2:],
    ),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_slow_response_times_out_in_any_part(raw_server, what):
    written = []
    server = raw_server(lambda handler: written.extend(drip(handler, *DRIPS[what])))
    with pytest.raises(tf.NetworkError, match=r"not complete after 0\.5 s"):
        tf.fetch_orders(client=impatient_client(server.base_url, retries=0))
    assert 0 < len(written) < PIECES


@pytest.fixture(scope="module")
def bomb():
    """Three hundred megabytes of spaces, in less than one."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    blank = bytes(1 << 20).replace(b"\x00", b" ")
    return b"".join([*(packer.compress(blank) for _ in range(300)), packer.flush()])


@pytest.mark.one_of(4)
@pytest.mark.parametrize(("status", "times"), [(200, 1), (200, 2), (302, 2), (500, 2)])
def test_a_decompression_bomb_is_not_read_into_memory(raw_server, bomb, status, times):
    packed = bomb if times == 1 else gzip.compress(bomb)
    headers = {"Content_Encoding": ", ".join(["gzip"] * times), "Location": "/wms/orders"}
    server = raw_server(lambda handler: reply(handler, packed, status, **headers))
    with pytest.raises(tf.NetworkError, match=r"longer than 256 MiB.*page_size"):
        tf.fetch_orders(client=impatient_client(server.base_url, timeout=60))
    assert len(server.seen) == 1


def test_a_rate_limit_of_thousands_of_digits_is_ignored(raw_server):
    counts = {"x_ratelimit_limit": "9" * 5000, "x_ratelimit_remaining": "9" * 5000}
    server = raw_server(lambda handler: reply(handler, GOOD, **counts))
    assert tf.fetch_orders(client=impatient_client(server.base_url)).orders.empty


@contextmanager
def listening(context):
    """Take connections, and keep what arrives in clear after a handshake."""
    arrived = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(taken, server_side=True) as secure:
                        arrived.append(secure.recv(1000))
                except OSError as error:
                    arrived.append(type(error).__name__)

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}", arrived
        server.shutdown(socket.SHUT_RDWR)


def test_nothing_is_sent_to_a_server_without_a_trusted_certificate():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("nobody.pem"))
    with listening(context) as (url, arrived):
        with pytest.raises(tf.NetworkError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            tf.fetch_orders(client=impatient_client(url, timeout=5))
        assert not caught.value.retryable
    assert not [each for each in arrived if isinstance(each, bytes) and each]


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "127.0.0.1:1", "bad host:1", ":1"])
def test_the_password_of_a_proxy_is_not_shown(monkeypatch, host):
    monkeypatch.setenv("HTTPS_PROXY", f"http://someone:hunter2@{host}")
    with pytest.raises(tf.NetworkError) as caught:
        tf.fetch_orders(client=impatient_client("https://127.0.0.1:1", retries=0))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
