"""The commands and their output; the docstring of each is its help text."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

import trackstar_frames as tf
from trackstar_frames._text import counted, plain
from trackstar_frames.http.cache import PageCache
from trackstar_frames.settings import cache_dir, local_folder
from trackstar_frames.snapshots.writer import check_target

if TYPE_CHECKING:
    from trackstar_frames.sandbox import Sandbox

# The error of writing to a closed pipe; on Windows it is EINVAL.
_CLOSED = (errno.EPIPE, errno.EINVAL)
_COLUMNS = ["order_number", "status", "created_date", "required_ship_date", "complete_shipped_date"]


def demo(args: argparse.Namespace) -> None:
    """Fetch generated orders over HTTP, and write a snapshot and two plots."""
    folder = local_folder(args.folder, "--folder")  # as plots are local files
    plots, Sandbox = _import_demo()  # noqa: N806  (a class)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _make_sandbox(Sandbox, orders=args.orders, seed=args.seed) as sandbox,
        tempfile.TemporaryDirectory() as cache,
        sandbox.client(connection="demo", cache_dir=cache) as client,
    ):
        echo(f"a local server has {args.orders:,} generated orders at {sandbox.base_url}")
        frames = tf.fetch_orders(client=client)
        cached = tf.fetch_orders(client=client, progress=False)
    echo(
        f"fetched {counted(len(frames.orders), 'order')} with "
        f"{counted(frames.info['requests'], 'request')}; "
        f"the same call again took {cached.info['requests']}, from disk\n"
    )
    echo(_format_orders(frames.orders))
    compliance = tf.ship_date_compliance(frames.orders)
    counts = compliance["outcome"].value_counts(sort=False)
    echo("\nship-date compliance: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    snapshot = tf.write_snapshot(frames, folder / "snapshots")
    pictures = {
        "status_mix.png": plots.plot_status_mix(frames.orders, freq="W"),
        "ship_date_compliance.png": plots.plot_ship_date_compliance(compliance),
    }
    for name, axes in pictures.items():
        figure: Any = axes.figure
        figure.savefig(folder / name, dpi=120)
    echo("\nwritten:")
    for path in (snapshot.path, *(folder / name for name in pictures)):
        echo(f"  {path}")


def _import_demo() -> tuple[ModuleType, type[Sandbox]]:
    """Import the plots, drawn to files and not to windows, and the sandbox; both are extras."""
    try:
        from matplotlib import use  # noqa: PLC0415  (an extra, as are the next)

        from trackstar_frames import plots  # noqa: PLC0415
        from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f"No module named {error.name!r}; the demo needs the extra 'demo'", name=error.name
        ) from error
    use("Agg")
    return plots, Sandbox


def _make_sandbox(sandbox: type[Sandbox], **options: Any) -> Sandbox:
    try:
        return sandbox(**options)
    except ValueError as error:
        raise tf.SettingsError(str(error)) from None


def fetch(args: argparse.Namespace) -> None:
    """Fetch orders with the credentials of the environment."""
    options = _request_options(args, "limit", "offline", "snapshot")
    if args.output is not None:
        check_target(args.output, "--output")
    with _connect(args) as connection:
        frames = tf.fetch_orders(**connection, **options)
    if args.output is not None:
        frames.to_parquet(args.output)
        echo(f"wrote {counted(len(frames.orders), 'order')} to {args.output}")
    else:
        echo(_format_orders(frames.orders))
    if len(frames.problems):
        echo(f"{counted(len(frames.problems), 'problem')}; see the table problems")


def export(args: argparse.Namespace) -> None:
    """Fetch orders straight into a new snapshot, however many there are."""
    options = _request_options(args, "limit")
    with _connect(args) as connection:
        snapshot = tf.export_orders(args.root, **connection, **options)
    echo(f"exported to {snapshot.path} with {counted(snapshot.info['requests'], 'request')}")


def sync(args: argparse.Namespace) -> None:
    """Fetch what has changed, and write all orders as a new snapshot."""
    options = _request_options(args, "overlap", "full_every")
    with _connect(args) as connection:
        snapshot = tf.sync_orders(args.root, **connection, **options)
    done = snapshot.info["sync"]
    names = ("new", "changed", "unchanged") + (("gone",) if done["gone"] else ())
    counts = ", ".join(f"{done[name]:,} {name}" for name in names)
    requests = counted(snapshot.info["requests"], "request")
    echo(f"synced to {snapshot.path} with {requests}: {counts}")


def snapshots(args: argparse.Namespace) -> None:
    """List the snapshots under a folder."""
    found = tf.list_snapshots(args.root)
    if found.empty:
        echo(f"there are no snapshots under {args.root}")
    else:
        echo(_format_table(found[["name", "connection", "orders", "bytes", "written_at"]]))


def sandbox(args: argparse.Namespace) -> None:
    """Serve generated orders until interrupted."""
    from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415  (an extra)

    options = _options(args, "orders", "seed", "latency", "tokens", "port")
    with _make_sandbox(Sandbox, **options, rate_limit=args.rate_limit or None) as sandbox:
        for name, value in sandbox.environment.items():
            echo(f"export {name}={value}")
        echo(f"# {args.orders:,} generated orders; stop with Ctrl-C")
        try:
            while True:
                time.sleep(3600)  # on Windows, Ctrl-C does not end a wait without a timeout
        except KeyboardInterrupt:
            echo("# stopped")


def cache(args: argparse.Namespace) -> None:
    """Describe the cache of pages, or empty it."""
    with closing(PageCache(cache_dir())) as cache:
        if args.action == "clear":
            echo(f"deleted {counted(cache.clear(), 'page')} from {cache.path}")
            return
        for name, value in cache.info().items():
            echo(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")


@contextmanager
def _connect(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the client or the connections of a call, as its arguments."""
    if args.connections:
        connections = {}
        for text in args.connections:
            label, _, connections[label] = text.partition("=")
            if not connections[label]:
                # The text is not shown, as it may be a token.
                raise tf.SettingsError(
                    "--connections takes LABEL=VARIABLE, where VARIABLE is the environment "
                    "variable that holds the token, never the token itself"
                )
        if len(connections) < len(args.connections):
            raise tf.SettingsError("--connections has the same label twice; labels must differ")
        yield {"connections": connections}
    else:
        with tf.TrackstarClient(connection=args.connection) as client:
            yield {"client": client}


def _request_options(args: argparse.Namespace, *others: str) -> dict[str, Any]:
    """Return the filters, the options that fetch, export and sync share, and these others."""
    names = ("page_size", "max_workers", "refresh", "verify", "pii", *others)
    return {**args.filters, **_options(args, *names)}


def _options(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names}


class OutputError(Exception):
    """Standard output cannot be written to."""


class ClosedPipeError(OutputError):
    """The reader of standard output has closed the pipe, as ``| head`` does."""


def check_output() -> None:
    """Raise if standard output is closed (``>&-``), where `print` would print nothing."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; send it to /dev/null if nobody reads it")


def echo(text: str) -> None:
    """Print text without control characters, which order data may contain.

    Characters that the output cannot encode, as is common for pipes on Windows, are escaped.
    """
    safe = "\n".join(map(plain, text.split("\n")))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(safe.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201
    except (OSError, ValueError) as error:
        _discard(sys.stdout)
        if getattr(error, "errno", None) in _CLOSED:
            raise ClosedPipeError from None
        raise OutputError(f"cannot write to standard output: {error}") from None


def _format_orders(orders: pd.DataFrame) -> str:
    """Return the first orders as a table, and the size of the frame."""
    shown = orders[_COLUMNS].head(5)
    dates = [name for name in _COLUMNS if name.endswith("_date")]
    shown = shown.assign(**{name: shown[name].dt.strftime("%Y-%m-%d %H:%M") for name in dates})
    size = f"{counted(len(orders), 'order')} x {orders.shape[1]} columns"
    return f"{_format_table(shown)}\n... {size}; times are UTC"


def _format_table(frame: pd.DataFrame) -> str:
    with pd.option_context("display.width", 200, "display.max_columns", None):
        return str(frame.to_string(index=False, na_rep="-"))


def print_error(message: object, code: int) -> int:
    """Print an error on one line, and return the exit code."""
    _print_to_stderr("error", message)
    return code


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print warnings on one line each, as errors are, without their source line."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _print_to_stderr("warning", message)
        yield


def _print_to_stderr(kind: str, message: object) -> None:
    line = plain(" ".join(str(message).split()))
    try:
        # Not by print, which writes to standard output if stderr is None.
        sys.stderr.write(f"trackstar-frames: {kind}: {line}\n")
        sys.stderr.flush()
    except AttributeError:
        pass  # stderr is closed; the exit code remains
    except (OSError, ValueError):
        _discard(sys.stderr)


def _discard(stream: IO[str]) -> None:
    """Discard what a stream has buffered, which would make Python itself exit with an error."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)
