"""Several connections in one call: for each, a label and the source of its token."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from trackstar_frames.client import TrackstarClient
from trackstar_frames.errors import CredentialsError, SettingsError, TrackstarError
from trackstar_frames.settings import Masked

__all__ = ["Connections", "Source", "check_connections", "open_client", "open_clients"]


#: The name of the environment variable that holds a token, or a function that returns it.
Source: TypeAlias = str | Callable[[], str]
Connections: TypeAlias = Mapping[str, Source]

_NAMES = "{'acme': 'ACME_TOKEN'}"


def check_connections(connections: object) -> dict[str, Source]:
    """Check what a user passes as `connections`, and sort it by label."""
    if not isinstance(connections, Mapping) or not connections:
        raise SettingsError(
            f"connections must map labels to the names of environment variables that hold their "
            f"tokens, or to functions that return them, such as {_NAMES}; it is "
            f"{'empty' if isinstance(connections, Mapping) else type(connections).__name__}"
        )
    for label, source in connections.items():
        if not (isinstance(label, str) and label.strip() == label != ""):
            raise SettingsError(f"connections: the label {label!r} must be a text, as {_NAMES}")
        if not (callable(source) or (isinstance(source, str) and source)):
            raise SettingsError(
                f"connections[{label!r}] must be the name of an environment variable (str), or a "
                f"function that returns the token, not {type(source).__name__}"
            )
    return dict(sorted(connections.items()))


def open_clients(connections: Mapping[str, Source]) -> dict[str, TrackstarClient]:
    """Open a client for each connection, with its token, and all else from the environment.

    Raises SettingsError or CredentialsError if a token is missing, or two connections share one.
    """
    clients: dict[str, TrackstarClient] = {}
    owners: dict[str, str] = {}
    for label, source in connections.items():
        clients[label] = client = open_client(label, source)
        other = owners.setdefault(client.session.budget, label)
        if other != label:
            raise SettingsError(
                f"connections: {other!r} and {label!r} have the same token, and would be the same "
                f"orders twice; give each its own, or leave one out"
            )
    return clients


def open_client(label: str, source: Source) -> TrackstarClient:
    """Open the client of one connection; errors never show the source, which may be a token."""
    return TrackstarClient(access_token=_token(label, source), connection=label)


def _token(label: str, source: Source) -> Masked:
    if isinstance(source, str):
        token: Masked = Masked.of(os.environ.get(source, ""))
        if not token:
            raise CredentialsError(
                f"connections[{label!r}] names an environment variable that is not set or empty; "
                f"it must be the variable's name, and not the token itself"
            )
        return token
    token = _call(label, source)
    if not isinstance(token, Masked) or not token:
        raise CredentialsError(
            f"connections[{label!r}]: its function must return the token (str), and returned "
            f"{'an empty text' if isinstance(token, Masked) else type(token).__name__}"
        )
    return token


def _call(label: str, source: Callable[[], str]) -> Any:
    """Call a function that returns a token; what it raises may quote one, so it is not chained."""
    try:
        return Masked.of(source())
    except TrackstarError:
        raise
    except Exception as error:  # noqa: BLE001  (raised below, not chained)
        kind = type(error).__name__
    raise CredentialsError(
        f"connections[{label!r}]: its function raised {kind}, whose message is not shown, as it "
        f"may contain the token; call the function itself to read it"
    )
