"""The shell: ``trackstar-frames demo | fetch | export | sync | snapshots | sandbox | cache``.

Exit codes: 0 done, 1 failed, 2 called wrongly. An error is one line. Credentials come from
the environment only; they are never flags, which would stay in the shell's history.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

import trackstar_frames as tf
from trackstar_frames import filters as grammar
from trackstar_frames.cache import PageCache
from trackstar_frames.settings import PII, cache_dir

__all__ = ["main"]

_COLUMNS = ["order_number", "status", "created_date", "required_ship_date", "complete_shipped_date"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    Parameters
    ----------
    argv
        The arguments; by default those of the process.
    """
    try:
        given = _parser().parse_args(argv)
        given.run(given)
    except (tf.FilterError, tf.SettingsError, tf.CredentialsError) as error:
        return _complain(error, 2)
    except (tf.TrackstarError, OSError, ImportError, sqlite3.Error) as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 1)
    return 0


def _demo(given: argparse.Namespace) -> None:
    """Fetch made-up orders over HTTP, and write a snapshot and two pictures."""
    from matplotlib import use  # noqa: PLC0415

    from trackstar_frames import plots  # noqa: PLC0415  (an extra, as are the next)
    from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415

    use("Agg")  # files only; no window
    folder = Path(given.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Sandbox(orders=given.orders, seed=given.seed) as sandbox,
        tempfile.TemporaryDirectory() as cache,
        sandbox.client(connection="demo", cache_dir=cache) as client,
    ):
        _say(f"a local server holds {given.orders:,} made-up orders at {sandbox.base_url}")
        frames = tf.fetch_orders(client=client)
        again = tf.fetch_orders(client=client, progress=False)
    _say(
        f"fetched {len(frames.orders):,} orders with {frames.info['requests']} requests; "
        f"the same call again took {again.info['requests']}, from disk\n"
    )
    _say(_first_rows(frames.orders))
    judged = tf.ship_date_compliance(frames.orders)
    counts = judged["outcome"].value_counts(sort=False)
    _say("\nship-date compliance: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    snapshot = tf.write_snapshot(frames, folder / "snapshots")
    pictures = {
        "status_mix.png": plots.plot_status_mix(frames.orders, freq="W"),
        "ship_date_compliance.png": plots.plot_ship_date_compliance(judged),
    }
    for name, axes in pictures.items():
        figure: Any = axes.figure
        figure.savefig(folder / name, dpi=120)
    _say("\nwritten:")
    for path in (snapshot.path, *(folder / name for name in pictures)):
        _say(f"  {path}")


def _fetch(given: argparse.Namespace) -> None:
    """Fetch orders with the credentials of the environment."""
    asked = _asked(given)
    with _client(given) as client:
        frames = tf.fetch_orders(
            client=client,
            limit=given.limit,
            offline=given.offline,
            snapshot=given.snapshot,
            **asked,
        )
    if given.output:
        frames.to_parquet(given.output)
        _say(f"wrote {len(frames.orders):,} orders to {given.output}")
    else:
        _say(_first_rows(frames.orders))
    if len(frames.problems):
        _say(f"{len(frames.problems):,} values are told in the table problems")


def _export(given: argparse.Namespace) -> None:
    """Fetch orders straight to one more snapshot, however many there are."""
    asked = _asked(given)
    with _client(given) as client:
        snapshot = tf.export_orders(given.root, client=client, limit=given.limit, **asked)
    _say(f"exported to {snapshot.path} with {snapshot.info['requests']:,} requests")


def _sync(given: argparse.Namespace) -> None:
    """Ask for what has changed, and write the whole as one more snapshot."""
    asked = _asked(given)
    with _client(given) as client:
        snapshot = tf.sync_orders(given.root, client=client, overlap=given.overlap, **asked)
    done = snapshot.info["sync"]
    counts = ", ".join(f"{done[name]:,} {name}" for name in ("new", "changed", "unchanged"))
    _say(f"synced to {snapshot.path} with {snapshot.info['requests']:,} requests: {counts}")


def _client(given: argparse.Namespace) -> tf.TrackstarClient:
    return tf.TrackstarClient(connection=given.connection)


def _asked(given: argparse.Namespace) -> dict[str, Any]:
    """Read the filters and options that all who ask the server take."""
    filters = dict(map(_filter, given.filters))
    grammar.encode(filters)
    options = {name: getattr(given, name) for name in ("page_size", "workers", "refresh", "pii")}
    return filters | options


def _snapshots(given: argparse.Namespace) -> None:
    """List the snapshots under a folder."""
    found = tf.list_snapshots(given.root)
    columns = ["name", "connection", "orders", "bytes", "written_at"]
    _say(_table(found[columns]) if len(found) else f"there are no snapshots under {given.root}")


def _sandbox(given: argparse.Namespace) -> None:
    """Serve made-up orders until interrupted."""
    from trackstar_frames.sandbox import Sandbox  # noqa: PLC0415  (an extra)

    with Sandbox(
        orders=given.orders,
        seed=given.seed,
        rate_limit=given.rate_limit or None,
        latency=given.latency,
        port=given.port,
    ) as sandbox:
        _say(f"export TRACKSTAR_BASE_URL={sandbox.base_url}")
        _say(f"export TRACKSTAR_API_KEY={sandbox.api_key}")
        _say(f"export TRACKSTAR_ACCESS_TOKEN={sandbox.access_token}")
        _say(f"# {given.orders:,} made-up orders; stop with Ctrl-C")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            _say("# stopped")


def _cache(given: argparse.Namespace) -> None:
    """Tell what is cached, or delete it."""
    cache = PageCache(cache_dir())
    try:
        if given.action == "clear":
            _say(f"deleted {cache.clear():,} pages from {cache.path}")
            return
        for name, value in cache.info().items():
            _say(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    finally:
        cache.close()


class _Parser(argparse.ArgumentParser):
    """Complain on one line."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message} (see {self.prog} --help)", 2))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trackstar-frames",
        description="Orders of the Trackstar WMS API as dataframes.",
        epilog="Credentials: TRACKSTAR_API_KEY and TRACKSTAR_ACCESS_TOKEN.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=tf.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = _command(commands, "demo", _demo)
    demo.add_argument("--folder", default="trackstar-demo", help="where to write (%(default)s)")
    _add_sandbox_options(demo)

    fetch = _command(commands, "fetch", _fetch)
    _add_fetch_options(fetch, refresh="ask the server again")
    fetch.add_argument("--output", metavar="FOLDER", help="write all tables there, as Parquet")
    fetch.add_argument("--snapshot", metavar="ROOT", help="write one more snapshot under ROOT")
    fetch.add_argument("--limit", type=int, help="at most this many orders")
    fetch.add_argument("--offline", action="store_true", help="read from disk only")

    export = _command(commands, "export", _export)
    export.add_argument("root", metavar="ROOT", help="the folder of all snapshots")
    _add_fetch_options(export, refresh="begin anew, though one that broke could be resumed")
    export.add_argument("--limit", type=int, help="at most this many orders")

    sync = _command(commands, "sync", _sync)
    sync.add_argument("root", metavar="ROOT", help="the folder of all snapshots")
    _add_fetch_options(sync, refresh="begin anew, though one that broke could be resumed")
    sync.add_argument(
        "--overlap", default="2h", help="how far to look back beyond the last one (%(default)s)"
    )

    snapshots = _command(commands, "snapshots", _snapshots)
    snapshots.add_argument("root", metavar="ROOT", help="the folder of all snapshots")

    sandbox = _command(commands, "sandbox", _sandbox)
    _add_sandbox_options(sandbox)
    sandbox.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    sandbox.add_argument(
        "--rate-limit", type=int, default=10, help="requests a second, 0 for no limit (%(default)s)"
    )
    sandbox.add_argument("--latency", type=float, default=0.0, help="seconds for each answer")

    cache = _command(commands, "cache", _cache)
    cache.add_argument("action", choices=["info", "clear"], help="tell, or delete everything")
    return parser


def _command(commands: Any, name: str, run: Any) -> argparse.ArgumentParser:
    described = run.__doc__
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=described, description=described, allow_abbrev=False
    )
    command.set_defaults(run=run)
    return command


def _add_fetch_options(command: argparse.ArgumentParser, *, refresh: str) -> None:
    command.add_argument(
        "filters",
        nargs="*",
        metavar="FILTER=VALUE",
        help="for example created_date__gte=2026-01-01 status__in=open,packed",
    )
    command.add_argument("--page-size", type=int, default=1000, help="orders of one request")
    command.add_argument(
        "--workers", type=int, default=8, help="pages on their way at a time (%(default)s)"
    )
    command.add_argument("--connection", help="a label for the data")
    command.add_argument("--refresh", action="store_true", help=refresh)
    command.add_argument(
        "--pii",
        choices=PII,
        default="keep",
        help="what becomes of personal data (%(default)s); hash needs TRACKSTAR_PII_KEY",
    )


def _add_sandbox_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--orders", type=_count, default=5000, help="how many (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="which ones (%(default)s)")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _filter(text: str) -> tuple[str, Any]:
    """Read ``name=value``; a list's values are separated by commas, as the API has them."""
    name, equals, value = text.partition("=")
    if not equals:
        raise tf.FilterError(f"{text!r} is no filter; write FIELD=VALUE or FIELD__OP=VALUE")
    field, operator = grammar.split(name)
    operator = operator or grammar.FIELDS[field].plain or ""
    is_list = operator.partition("-")[0] in ("in", "nin")
    return name, value.split(",") if is_list else value


def _first_rows(orders: pd.DataFrame) -> str:
    shown = orders[_COLUMNS].head(5)
    moments = [name for name in _COLUMNS if name.endswith("_date")]
    shown = shown.assign(**{name: shown[name].dt.strftime("%Y-%m-%d %H:%M") for name in moments})
    return (
        f"{_table(shown)}\n... {len(orders):,} orders x {orders.shape[1]} columns; moments are UTC"
    )


def _table(frame: pd.DataFrame) -> str:
    with pd.option_context("display.width", 200, "display.max_columns", None):
        return str(frame.to_string(index=False, na_rep="-"))


def _say(text: str) -> None:
    """Print, without what would steer the terminal: orders are other people's text."""
    print(re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", "?", text), flush=True)  # noqa: T201


def _complain(message: object, code: int) -> int:
    line = " ".join(str(message).split())
    print(f"trackstar-frames: error: {line}", file=sys.stderr)  # noqa: T201
    return code
