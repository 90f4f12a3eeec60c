"""Attacks, each of them tried: what SECURITY.md promises, and that it names tests that exist."""

import ast
import gzip
import hashlib
import json
import re
import socket
import ssl
import threading
import time
import tomllib
import traceback
import zlib
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trackstar_frames as tf
from trackstar_frames.aside import sweep
from trackstar_frames.cli import main
from trackstar_frames.sandbox import Fault

ROOT = Path(__file__).parent.parent
POLICY = (ROOT / "SECURITY.md").read_text()
PIECES = 60  # of what drips
MANIFEST = "_trackstar_frames.json"
GOOD = b'{"data": [], "next_token": null}'
STEERING = "\x1b]0;owned\x07\x1b[2J\u202e\r\nINFO all is well"


def steers(text):
    return re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)


@pytest.fixture
def quick():
    """Make a client of some server that gives up soon."""

    def make(base_url, **options):
        given = {"rate_limit": None, "retries": 1, "max_wait": 1, "timeout": 0.5} | options
        return tf.TrackstarClient("key-0123456789", "token-9876543210", base_url=base_url, **given)

    return make


# The policy itself.


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]*)`", POLICY))))
def test_every_test_that_the_policy_names_exists(named):
    path, _, name = named.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_threat_of_the_policy_has_a_test():
    rows = [line for line in POLICY.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        cells = row.strip("|").split(" | ")
        assert len(cells) == 4, row
        assert "tests/" in cells[3], row


# Hostile servers.


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
def test_no_spelling_of_a_redirect_leads_to_another_server(raw_server, reply, quick, to):
    thief = raw_server(reply)

    def answer(handler):
        ports = {"own": handler.server.server_port, "other": urlsplit(thief.base_url).port}
        reply(handler, b"", 302, Location=to.format(**ports))

    with pytest.raises(tf.TrackstarError):
        tf.fetch_orders(client=quick(raw_server(answer).base_url))
    assert not thief.seen


@pytest.mark.parametrize(
    "host", ["wärehouse.example", "WAREHOUSE.example", "warehouse.example:443"]
)
def test_a_host_is_the_same_however_it_is_spelt(raw_server, reply, quick, monkeypatch, host):
    monkeypatch.setenv("HTTPS_PROXY", raw_server(reply).base_url)
    with pytest.raises(tf.NetworkError, match="Tunnel connection failed: 501"):  # it was asked
        tf.fetch_orders(client=quick(f"https://{host}", retries=0, timeout=5))


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
def test_a_server_that_drips_is_given_up_wherever_it_does(raw_server, quick, what):
    written = []
    server = raw_server(lambda handler: written.extend(drip(handler, *DRIPS[what])))
    with pytest.raises(tf.NetworkError, match=r"not whole after 0\.5 s"):
        tf.fetch_orders(client=quick(server.base_url, retries=0))
    assert 0 < len(written) < PIECES


@pytest.fixture(scope="module")
def bomb():
    """Three hundred megabytes of spaces, in less than one."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    blank = bytes(1 << 20).replace(b"\x00", b" ")
    return b"".join([*(packer.compress(blank) for _ in range(300)), packer.flush()])


@pytest.mark.parametrize(("status", "times"), [(200, 1), (200, 2), (302, 2), (500, 2)])
def test_a_bomb_is_left_before_it_fills_the_memory(  # noqa: PLR0917 -- fixtures
    raw_server, reply, quick, bomb, status, times
):
    packed = bomb if times == 1 else gzip.compress(bomb)
    headers = {"Content_Encoding": ", ".join(["gzip"] * times), "Location": "/wms/orders"}
    server = raw_server(lambda handler: reply(handler, packed, status, **headers))
    with pytest.raises(tf.NetworkError, match=r"longer than 256 MiB.*page_size"):
        tf.fetch_orders(client=quick(server.base_url, timeout=60))
    assert len(server.seen) == 1


def test_a_count_of_thousands_of_digits_is_no_limit(raw_server, reply, quick):
    counts = {"x_ratelimit_limit": "9" * 5000, "x_ratelimit_remaining": "9" * 5000}
    server = raw_server(lambda handler: reply(handler, GOOD, **counts))
    assert tf.fetch_orders(client=quick(server.base_url)).orders.empty


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


def test_a_server_that_nobody_vouches_for_is_told_nothing(quick):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("data") / "nobody.pem")
    with listening(context) as (url, arrived):
        with pytest.raises(tf.NetworkError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            tf.fetch_orders(client=quick(url, timeout=5))
        assert not caught.value.retryable
    assert not [each for each in arrived if isinstance(each, bytes) and each]


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "127.0.0.1:1", "bad host:1", ":1"])
def test_the_password_of_a_proxy_is_not_shown(quick, monkeypatch, host):
    monkeypatch.setenv("HTTPS_PROXY", f"http://someone:hunter2@{host}")
    with pytest.raises(tf.NetworkError) as caught:
        tf.fetch_orders(client=quick("https://127.0.0.1:1", retries=0))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# Words of others.


def test_the_words_of_a_server_steer_nothing(raw_server, reply, quick, caplog):
    said = json.dumps({"error": STEERING, "origin": STEERING}).encode()
    server = raw_server(lambda h: reply(h, said, 503, X_Request_Id="id\x1b[31m\x9b2J"))
    caplog.set_level("INFO", "trackstar_frames")
    with pytest.raises(tf.ServerError, match="all is well") as caught:
        tf.fetch_orders(client=quick(server.base_url))
    error = caught.value
    logged = [record.getMessage() for record in caplog.records if "waiting" in record.msg]
    assert logged
    for text in (str(error), error.error, error.origin, error.request_id, *logged):
        assert not steers(text)


def test_the_complaints_of_the_shell_steer_nothing(raw_server, reply, monkeypatch, capsys):
    said = json.dumps({"error": STEERING}).encode()
    server = raw_server(lambda handler: reply(handler, said, 422))
    monkeypatch.setenv("TRACKSTAR_BASE_URL", server.base_url)
    monkeypatch.setenv("TRACKSTAR_API_KEY", "k")
    monkeypatch.setenv("TRACKSTAR_ACCESS_TOKEN", "t")
    assert main(["fetch"]) == 1
    assert main(["fetch", f"--connection={STEERING}", f"{STEERING}=1"]) == 2
    for line in capsys.readouterr().err.removesuffix("\n").split("\n"):
        assert line.startswith("trackstar-frames: error: ")
        assert not steers(line)


def test_a_function_that_quotes_its_token_is_not_quoted(many):
    sandbox = many(tokens=1)

    def refuse():
        raise KeyError(sandbox.access_token)

    with pytest.raises(tf.CredentialsError, match="raised KeyError") as caught:
        tf.fetch_orders(connections={"acme": refuse})
    assert caught.value.__context__ is None
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [line for line in shown.format() if "test_security" not in line]
    assert sandbox.access_token not in "".join(ours)


# Labels.


@pytest.mark.parametrize(
    "label", ["../../up", "/etc/passwd", "a\x00b\n", "..", STEERING, "漢" * 200, "🏭" * 200]
)
def test_a_label_becomes_a_name_under_its_root(snapshot, tmp_path, label):
    root = tmp_path / "root"
    for day in (1, 2):
        frames = snapshot.read()
        frames.info |= {"connection": label, "fetched_at": f"2026-01-0{day}T00:00:00+00:00"}
        written = tf.write_snapshot(frames, root)
        assert written.path.parent == root
        assert re.fullmatch(r"[\w.-]+", written.name)
    tf.thin_snapshots(root, latest=1, daily=0, weekly=0, monthly=0)
    assert [path.name for path in root.iterdir()] == [written.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "snapshots"]
    assert tf.read_snapshot(root).info["connection"] == label


# Hostile snapshots.


@pytest.fixture
def snapshot(tmp_path):
    """One of two orders."""
    orders = [{"id": "a1", "line_items": [{"sku": "x", "quantity": 2}]}, {"id": "a2"}]
    return tf.write_snapshot(tf.OrderFrames.from_json(orders), tmp_path / "snapshots")


def rewrite(snapshot, change):
    path = snapshot.path / MANIFEST
    said = json.loads(path.read_bytes())
    change(said)
    path.write_text(json.dumps(said))


def forge(snapshot, table, body):
    """Replace a file, and have the manifest vouch for it."""
    (snapshot.path / table / "part-00000.parquet").write_bytes(body)
    rows = pq.read_metadata(pa.BufferReader(body)).num_rows
    known = {"rows": rows, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    rewrite(snapshot, lambda said: said["parts"][0]["files"].update({table: known}))


ODD = {
    "no info": lambda said: said["info"].clear(),
    "an info without filters": lambda said: said["info"].pop("filters"),
    "no moment": lambda said: said["info"].update(fetched_at=STEERING),
    "a number for a moment": lambda said: said["info"].update(fetched_at=5),
    "never written": lambda said: said.update(written_at="never"),
    "a list of labels": lambda said: said["info"].update(connections=["acme"]),
    "a list for a label": lambda said: said["info"].update(connection=["acme"]),
    "labels that tell nothing": lambda said: said["info"].update(connections={"acme": {}}),
    "failures without a reason": lambda said: said["info"].update(failed=["acme"]),
    "parts of others": lambda said: said["parts"][0].update(connection="acme"),
    "no parts": lambda said: said["parts"].clear(),
    "no packages": lambda said: said["parts"][0]["files"].pop("packages"),
    "fewer than no rows": lambda said: said["parts"][0]["files"]["orders"].update(rows=-1),
    "more rows than there can be": lambda s: s["parts"][0]["files"]["orders"].update(rows=2**70),
    "a schema before the first": lambda said: said.update(schema_version=-1),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_manifest_is_an_error_and_spoils_no_other(snapshot, odd):
    other = tf.write_snapshot(snapshot.read(), snapshot.path.parent)
    rewrite(snapshot, ODD[odd])
    with pytest.raises(tf.SnapshotError):
        snapshot.read()
    assert tf.list_snapshots(snapshot.path.parent)["name"].tolist() == [other.name]
    assert len(tf.order_history(snapshot.path.parent, "a1")) == 1


def test_a_manifest_that_is_nested_too_deeply_is_an_error(snapshot):
    deep = "[" * 100_000 + "]" * 100_000
    said = (
        f'{{"schema_version": 2, "written_at": "2026-01-01", "parts": [], "info": {{"a": {deep}}}}}'
    )
    (snapshot.path / MANIFEST).write_text(said)
    with pytest.raises(tf.SnapshotError):
        snapshot.read()
    assert tf.list_snapshots(snapshot.path.parent).empty


def test_a_manifest_names_no_file_elsewhere(snapshot, tmp_path):
    stranger = tmp_path / "stranger" / "part-00000.parquet"
    stranger.parent.mkdir()
    stranger.write_bytes(b"no Parquet")
    known = {"rows": 1, "bytes": 10, "sha256": ""}
    names = {"../../stranger": known, str(stranger.parent): known}
    rewrite(snapshot, lambda said: said["parts"][0]["files"].update(names))
    assert len(snapshot.read().orders) == 2


def test_what_a_manifest_says_of_failures_steers_nothing(snapshot):
    rewrite(snapshot, lambda said: said["info"].update(failed={STEERING: STEERING}))
    with pytest.warns(UserWarning, match="failed when this was written") as warned:
        frames = snapshot.read()
    assert not steers(str(warned[0].message))
    assert not steers(repr(frames) + frames._repr_html_())


def test_the_name_of_a_folder_steers_nothing(snapshot):
    snapshot.path.rename(snapshot.path.with_name("\x1b[2J\nevil"))
    with pytest.raises(tf.SnapshotError, match="evil") as caught:
        tf.read_snapshot(snapshot.path.parent, "nowhere")
    assert not steers(str(caught.value))


class Pickled(pa.ExtensionType):
    """What pyarrow before 14.0.1 unpickled as it read it."""

    def __init__(self):
        super().__init__(pa.string(), "arrow.py_extension_type")

    def __arrow_ext_serialize__(self):
        return b"cos\n_exit\n(I3\ntR."  # ends the process

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()


def packed(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.filterwarnings("ignore:pickle-based deserialization")  # older Arrow says so
def test_a_forged_file_runs_no_code(snapshot):
    orders = pq.read_table(snapshot.files["orders"])
    place = orders.schema.get_field_index("order_number")
    hostile = pa.ExtensionArray.from_storage(Pickled(), pa.array(["#1", "#2"]))
    forge(snapshot, "orders", packed(orders.set_column(place, "order_number", hostile)))
    assert snapshot.read().orders["order_number"].tolist() == ["#1", "#2"]


@pytest.mark.parametrize("trick", ["struct", "text", "twice", "not Parquet", "another length"])
def test_a_forged_file_of_another_shape_is_an_error(snapshot, trick):
    orders = pq.read_table(snapshot.files["orders"])
    place = orders.schema.get_field_index("created_date")
    forged = {
        "struct": orders.set_column(place, "created_date", pa.array([{"a": 1}, None])),
        "text": orders.set_column(place, "created_date", pa.array(["soon", "later"])),
        "twice": orders.append_column("id", pa.array(["b1", "b2"])),
    }
    if trick in forged:
        forge(snapshot, "orders", packed(forged[trick]))
    else:
        body = b"PAR1 and so on" if trick == "not Parquet" else packed(orders.slice(1))
        known = {"rows": 2, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        (snapshot.path / "orders" / "part-00000.parquet").write_bytes(body)
        rewrite(snapshot, lambda said: said["parts"][0]["files"].update(orders=known))
    with pytest.raises(tf.SnapshotError, match="damaged"):
        snapshot.read()


def test_nothing_behind_a_link_is_removed(snapshot, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "2020").symlink_to(snapshot.path)
    (root / f".2021.{'a' * 32}.partial").symlink_to(snapshot.path)
    sweep(root)
    tf.write_snapshot(snapshot.read(), root)
    with pytest.raises(tf.SnapshotError, match="cannot remove"):
        tf.thin_snapshots(root, latest=1, daily=0, weekly=0, monthly=0)
    assert len(snapshot.read().orders) == 2


# Spreadsheets, notebooks, and where code comes from.


def test_the_recipe_of_the_policy_tames_formulas(tmp_path):
    recipe = re.search(r"```python\n(.*?)```", POLICY, re.DOTALL)[1]
    names = {}
    exec(recipe, names)
    formula = '=HYPERLINK("http://evil")'
    hostile = [formula, "+1", "-1", "@x", "\t=1", "\r=1", "x\r=1", "\n=1", " =1", "plain", None]
    orders = [{"id": f"{n:02}", "order_number": each} for n, each in enumerate(hostile)]
    for backend in (None, "pyarrow"):
        frames = tf.OrderFrames.from_json(orders, dtype_backend=backend)
        names["tamed"](frames.orders).to_csv(tmp_path / "orders.csv", index=False)
        read = pd.read_csv(tmp_path / "orders.csv", dtype=str, keep_default_na=False)
        starts = {text[:1] for column in read for text in read[column]}
        assert not starts & set("=+-@\t\r ")
        assert read["order_number"].tolist()[-2:] == ["plain", ""]
        assert frames.orders["order_number"][0] == hostile[0]


def test_order_text_is_escaped_where_notebooks_show_it():
    hostile = "<img src=x onerror=alert(1)>"
    frames = tf.OrderFrames.from_json({"id": hostile, "order_number": hostile})
    frames.info["filters"] = {"order_number": hostile}
    for html in (frames._repr_html_(), frames.orders._repr_html_()):
        assert "<img" not in html


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_stored_notebooks_show_no_secret_and_no_home(path):
    text = path.read_text()
    assert '"outputs"' in text
    assert not re.search(r"sandbox[0-9a-f]{32}|/home/|/Users/|/root/", text)


def test_the_readme_installs_what_is_at_hand():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(each for extra in extras for each in extra)]
    assert not [each for each in needed if "@" in each or "://" in each]
    installs = re.findall(
        r"pip install (.*?)(?: &&|`|$)", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert installs
    assert not [each for each in installs if re.search(r"(?i)trackstar[-_]frames", each)]


def test_nothing_here_unpickles_or_runs_text():
    for path in (ROOT / "trackstar_frames").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & {"pickle", "cloudpickle", "dill", "marshal", "shelve", "yaml"}
                assert "subprocess" not in names
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "__import__"}, path


def test_the_sandbox_is_on_loopback_only(serve):
    sandbox = serve(Fault("status", status=500, nth=1))
    assert sandbox._server.bind_addr[0] == "127.0.0.1"
    assert urlsplit(sandbox.base_url).hostname == "127.0.0.1"
    assert not {"host", "address", "bind"} & set(vars(sandbox))
