"""Certificates and proxies, as the environment names them: a TLS server and a proxy, both real."""

import base64
import selectors
import socket
import ssl
import threading
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import trustme

import trackstar_frames as tf

BODY = b'{"data": [{"id": "a"}], "next_token": null}'


@contextmanager
def running(handler, context=None):
    """Serve in a thread, over TLS if there is a context, and give the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        # Not in the thread that accepts, which a failed handshake would end.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Notes its requests, and is quiet about connections that break."""

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            self.close_connection = True


@pytest.fixture(scope="module")
def authority():
    """Make a certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def secure(authority):
    """Serve one order over TLS; `.seen` lists the headers of each request."""
    seen = []

    class Answer(Handler):
        def do_GET(self):
            seen.append({**self.headers, "path": self.path})
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with running(Answer, context) as port:
        yield SimpleNamespace(host=f"localhost:{port}", seen=seen)


@pytest.fixture
def proxy():
    """Run a proxy that tunnels; `.seen` lists the requests' targets and headers."""
    seen = []

    class Tunnel(Handler):
        def do_CONNECT(self):
            seen.append((self.path, str(self.headers)))
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port)), timeout=5) as there:
                self.send_response(200)
                self.end_headers()
                relay(self.connection, there)
            self.close_connection = True

    with running(Tunnel) as port:
        yield SimpleNamespace(host=f"127.0.0.1:{port}", seen=seen)


def relay(here, there):
    """Pass on what comes from either end, until one of them ends."""
    with selectors.DefaultSelector() as ends:
        for end, other in ((here, there), (there, here)):
            ends.register(end, selectors.EVENT_READ, other)
        while True:
            for ready, _ in ends.select():
                part = ready.fileobj.recv(65536)
                if not part:
                    return
                ready.data.sendall(part)


@pytest.fixture
def trusted(authority, tmp_path):
    """Write the authority's certificate to a file, and give its path."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def fetch(server, base_url="https://{}"):
    url = base_url.format(server.host)
    client = tf.TrackstarClient("the-key", "the-token", base_url=url, rate_limit=None, cache=False)
    with client:
        return tf.fetch_orders_df(client=client, progress=False)


def test_an_unknown_authority_is_refused_at_once_before_anything_is_sent(secure):
    with pytest.raises(tf.NetworkError, match="certificate verify failed") as caught:
        fetch(secure)
    assert "REQUESTS_CA_BUNDLE" in str(caught.value)
    assert not caught.value.retryable
    assert not secure.seen


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_an_authority_of_the_environment_is_trusted(secure, trusted, monkeypatch, variable):
    monkeypatch.setenv(variable, trusted)
    assert fetch(secure)["id"].tolist() == ["a"]
    assert secure.seen[0]["x-trackstar-access-token"] == "the-token"


def test_a_file_of_authorities_that_is_not_there_is_named(secure, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(tf.NetworkError, match=r"nowhere\.pem"):
        fetch(secure)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_tunnels_and_reads_nothing(secure, proxy, trusted, monkeypatch, variable):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    monkeypatch.setenv(variable, f"http://{proxy.host}")
    assert fetch(secure)["id"].tolist() == ["a"]
    ((target, headers),) = proxy.seen
    assert target == secure.host
    assert "the-" not in headers
    assert len(secure.seen) == 1


@pytest.mark.parametrize("base_url", ["HTTPS://{}", "hTtPs://{}/", "https://{}//"])
def test_https_is_https_however_it_is_spelt(secure, proxy, trusted, monkeypatch, base_url):
    with pytest.raises(tf.NetworkError, match="certificate verify failed"):
        fetch(secure, base_url)
    monkeypatch.setenv("CURL_CA_BUNDLE", trusted)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
    assert fetch(secure, base_url)["id"].tolist() == ["a"]
    assert [target for target, _ in proxy.seen] == [secure.host]
    assert len(secure.seen) == 1


def test_requests_through_a_proxy_keep_their_query(secure, proxy, trusted, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
    client = tf.TrackstarClient("key", "token", base_url=f"https://{secure.host}", cache=False)
    with client:
        for _ in range(3):
            tf.fetch_orders_df(client=client, limit=7, page_size=7, extra_params={"new": "x"})
    assert {target for target, _ in proxy.seen} == {secure.host}
    assert [seen["path"] for seen in secure.seen] == ["/wms/orders?new=x&limit=7"] * 3


def test_what_a_proxy_says_is_not_shown(secure, monkeypatch, caplog):
    class Echo(Handler):
        def do_CONNECT(self):
            sent = self.headers["Proxy-Authorization"]
            self.wfile.write(f"HTTP/1.1 407 {sent}\r\n\r\n".encode())
            self.close_connection = True

    caplog.set_level("DEBUG")
    with running(Echo) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://someone:hunter2@127.0.0.1:{port}")
        with pytest.raises(tf.NetworkError, match=r"the proxy: .*failed: 407 \(") as caught:
            fetch(secure)
    secret = base64.b64encode(b"someone:hunter2").decode()
    for text in ("".join(traceback.format_exception(caught.value)), caplog.text):
        assert secret not in text
        assert "hunter2" not in text


def test_a_host_that_needs_no_proxy_is_requested_directly(secure, proxy, trusted, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
    monkeypatch.setenv("NO_PROXY", "elsewhere.example,localhost")
    assert fetch(secure)["id"].tolist() == ["a"]
    assert not proxy.seen


def test_a_proxy_that_is_not_there_is_reported_without_its_password(
    secure, closed_url, monkeypatch
):
    monkeypatch.setenv("HTTPS_PROXY", closed_url.replace("//", "//user:hunter2@"))
    client = tf.TrackstarClient("key", "token", base_url=f"https://{secure.host}", retries=0)
    with pytest.raises(tf.NetworkError, match="proxy") as caught:
        tf.fetch_orders_df(client=client)
    assert "hunter2" not in str(caught.value)
    assert not secure.seen
