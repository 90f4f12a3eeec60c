"""The commands, their arguments and their help."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import trackstar_frames as tf
from trackstar_frames.cli import commands
from trackstar_frames.cli.printing import complain, say
from trackstar_frames.settings import PII

__all__ = ["read"]


class _Once(argparse.Action):
    """Keep the value of an option, which argparse would let a second one replace."""

    _is_given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None and self._is_given:
            parser.error(f"{option_string} is given twice; give it once")
        self._is_given = True
        setattr(namespace, self.dest, values)


class _Version(argparse.Action):
    """Tell the version, and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002  (argparse gives it)
        values: Any,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        say(tf.__version__)
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Complain on one line, and take each option once."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, allow_abbrev=False)
        self.register("action", None, _Once)  # of all that names no other

    def print_help(self, file: object = None) -> None:  # noqa: ARG002  (always the output)
        say(self.format_help())  # argparse itself passes over what the output refuses

    def error(self, message: str) -> NoReturn:
        sys.exit(complain(f"{message} (see {self.prog} --help)", 2))


def read(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read a command line; filters may stand before options and behind them."""
    parser = _make_parser()
    given, left = parser.parse_known_args(argv)
    if left and hasattr(given, "filters") and not any(each.startswith("-") for each in left):
        # Argparse takes what may be there any number of times in one place alone.
        given.filters = [*given.filters, *left]
    elif left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    return given


def _make_parser() -> _Parser:
    """Make the parser of the whole shell."""
    parser = _Parser(
        prog="trackstar-frames",
        description="Orders of the Trackstar WMS API as dataframes.",
        epilog="Credentials: TRACKSTAR_API_KEY and TRACKSTAR_ACCESS_TOKEN.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="tell the version, and end")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = _command(subparsers, "demo", commands.demo)
    demo.add_argument("--folder", default="trackstar-demo", help="where to write (%(default)s)")
    _add_sandbox_options(demo)

    fetch = _command(subparsers, "fetch", commands.fetch)
    _add_fetch_options(fetch, refresh="ask the server again")
    fetch.add_argument(
        "--output", type=_folder, metavar="FOLDER", help="write all tables there, as Parquet"
    )
    fetch.add_argument(
        "--snapshot", type=_folder, metavar="ROOT", help="write one more snapshot under ROOT"
    )
    fetch.add_argument("--limit", type=int, help="at most this many orders")
    fetch.add_argument("--offline", action="store_true", help="read from disk only")

    export = _command(subparsers, "export", commands.export)
    export.add_argument("root", type=_folder, metavar="ROOT", help="the folder of all snapshots")
    _add_fetch_options(export, refresh="begin anew, though one that broke could be resumed")
    export.add_argument("--limit", type=int, help="at most this many orders")

    sync = _command(subparsers, "sync", commands.sync)
    sync.add_argument("root", type=_folder, metavar="ROOT", help="the folder of all snapshots")
    _add_fetch_options(sync, refresh="begin anew, though one that broke could be resumed")
    sync.add_argument(
        "--overlap", default="2h", help="how far to look back beyond the last one (%(default)s)"
    )
    sync.add_argument(
        "--full-every",
        metavar="LENGTH",
        help="ask for all orders when that is so long ago (7D), and drop those that are gone",
    )

    snapshots = _command(subparsers, "snapshots", commands.snapshots)
    snapshots.add_argument("root", type=_folder, metavar="ROOT", help="the folder of all snapshots")

    sandbox = _command(subparsers, "sandbox", commands.sandbox)
    _add_sandbox_options(sandbox)
    sandbox.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    sandbox.add_argument(
        "--rate-limit", type=int, default=10, help="requests a second, 0 for no limit (%(default)s)"
    )
    sandbox.add_argument(
        "--tokens", type=_count, default=1, help="connections, with other orders each (%(default)s)"
    )
    sandbox.add_argument("--latency", type=float, default=0.0, help="seconds for each answer")

    cache = _command(subparsers, "cache", commands.cache)
    cache.add_argument("action", choices=["info", "clear"], help="tell, or delete everything")
    return parser


def _command(subparsers: Any, name: str, run: Any) -> argparse.ArgumentParser:
    described = run.__doc__
    command: argparse.ArgumentParser = subparsers.add_parser(
        name, help=described, description=described
    )
    command.set_defaults(run=run)
    return command


def _add_fetch_options(command: argparse.ArgumentParser, *, refresh: str) -> None:
    command.add_argument(
        "filters",
        nargs="*",
        default=[],
        metavar="FILTER=VALUE",
        help="for example created_date__gte=2026-01-01 status__in=open,packed",
    )
    command.add_argument("--page-size", type=int, default=1000, help="orders of one request")
    command.add_argument(
        "--max-workers", type=int, default=8, help="pages on their way at a time (%(default)s)"
    )
    whose = command.add_mutually_exclusive_group()
    whose.add_argument("--connection", help="a label for the data")
    whose.add_argument(
        "--connections",
        action="append",
        metavar="LABEL=VARIABLE",
        help="one of several connections, and the variable that holds its token; repeat it",
    )
    command.add_argument("--refresh", action="store_true", help=refresh)
    command.add_argument(
        "--verify", action="store_true", help="read until two readings agree, or fail"
    )
    command.add_argument(
        "--pii",
        choices=PII,
        default="keep",
        help="what becomes of personal data (%(default)s); hash needs TRACKSTAR_PII_KEY",
    )


def _add_sandbox_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--orders", type=_count, default=5000, help="how many (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="which ones (%(default)s)")


def _folder(text: str) -> str:
    """Refuse a filter in the place of a folder: it would name one, and filter nothing."""
    if re.match(r"[\w\[\]-]+=", text) and not Path(text).exists():
        raise argparse.ArgumentTypeError(
            f"{text!r} looks like a filter, where the path of a folder is needed; put the folder "
            f"before it, or write './{text}' if a folder is to be named so"
        )
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)
