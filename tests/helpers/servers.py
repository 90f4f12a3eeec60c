"""Clients of servers, and what raw servers write."""

from contextlib import contextmanager

import trackstar_frames as tf
from helpers import changing_server


def impatient_client(base_url, **options):
    """Return a client that gives up soon."""
    quick = {"rate_limit": None, "retries": 1, "max_wait": 1, "timeout": 0.5}
    return tf.TrackstarClient(
        "key-0123456789", "token-9876543210", base_url=base_url, **quick | options
    )


@contextmanager
def client_of(shop, api_key="key-of-1", **options):
    """Serve a shop of `changing_server` to a client, which has a cache only with `cache_dir`."""
    options = {"rate_limit": None, "cache": "cache_dir" in options} | options
    with (
        changing_server.serve(shop) as url,
        tf.TrackstarClient(api_key, "token-of-1", base_url=url, **options) as client,
    ):
        yield client


def reply(handler, body=b'{"data": [], "next_token": null}', status=200, **headers):
    """Write one whole response to a raw server's handler."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def connection_variables(sandbox):
    """Return the environment variables of a sandbox's first two connections."""
    acme, beta = sandbox.access_tokens[:2]
    return {
        "TRACKSTAR_BASE_URL": sandbox.base_url,
        "TRACKSTAR_API_KEY": sandbox.api_key,
        "ACME_TOKEN": acme,
        "BETA_SECRET": beta,
    }
