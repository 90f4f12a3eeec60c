"""Other ways from pages of orders to tables, each written as well as we know how."""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import requests
from _server import Server

Frames = dict[str, pd.DataFrame]


def orjson_loads(bodies: Sequence[bytes]) -> None:
    """Parse page by page, and build nothing."""
    for body in bodies:
        orjson.loads(body)


def normalize(bodies: Sequence[bytes]) -> Frames:
    """Use `json_normalize` as its documentation shows: `record_path` and `meta`."""
    orders = [order for body in bodies for order in json.loads(body)["data"]]
    order, shipment = "id", ["shipments", "shipment_id"]
    package = ["shipments", "packages", "package_id"]

    def rows(path: list[str], *keys: str | list[str]) -> pd.DataFrame:
        return pd.json_normalize(orders, path, [*keys], meta_prefix="of.")

    return {
        "orders": pd.json_normalize(orders).drop(columns=["line_items", "shipments"]),
        "line_items": rows(["line_items"], order),
        "shipments": rows(["shipments"], order).drop(columns=["line_items", "packages"]),
        "shipment_line_items": rows(["shipments", "line_items"], order, shipment),
        "packages": rows(["shipments", "packages"], order, shipment).drop(columns="line_items"),
        "package_line_items": rows(
            ["shipments", "packages", "line_items"], order, shipment, package
        ),
    }


def by_hand(bodies: Sequence[bytes]) -> Frames:
    """Cut the rows apart first, and leave to `json_normalize` only what is nested.

    With `record_path` it copies every record deeply, a shipment with all that is below it;
    without, it does not. Page by page, the garbage collector has less to walk through.
    """
    pages = [_frames(orjson.loads(body)["data"]) for body in bodies]
    return {name: pd.concat([page[name] for page in pages], ignore_index=True) for name in pages[0]}


@dataclass(frozen=True)
class Listing:
    """What dlt is to load: this many pages of a server, in a folder for its files."""

    server: Server
    pages: int
    page_size: int
    folder: Path


def dlt_to_parquet(listing: Listing) -> dict[str, int]:
    """Let dlt ask the server, find out the schema, and write Parquet; tell the rows by table."""
    folder = Path(tempfile.mkdtemp(dir=listing.folder))
    os.environ |= {
        "DLT_DATA_DIR": str(folder / "state"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "CRITICAL",
    }
    import dlt  # noqa: PLC0415 -- optional
    from dlt.sources.rest_api import rest_api_source  # noqa: PLC0415 -- optional

    source = rest_api_source(_rest_api(listing))
    source.resources["orders"].add_limit(listing.pages)
    pipeline = dlt.pipeline(
        "orders",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(str(folder / "parquet")),
    )
    pipeline.run(source, loader_file_format="parquet")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    return {table: counts.get(name, 0) for table, name in _DLT_TABLES.items()}


def by_loop(server: Server, limit: int | None = None) -> pd.DataFrame:
    """Ask page after page, keep the orders, and spread them over columns at the end."""
    orders: list[dict[str, Any]] = []
    query = {"limit": str(limit or 1000)}
    with requests.Session() as session:
        session.headers["x-trackstar-api-key"] = server.api_key
        session.headers["x-trackstar-access-token"] = server.access_token
        token = "first"
        while token and (limit is None or len(orders) < limit):
            answer = session.get(f"{server.base_url}/wms/orders", params=query, timeout=30)
            if answer.status_code == requests.codes.too_many:
                time.sleep(float(answer.headers["retry-after"]))
                continue
            answer.raise_for_status()
            page = answer.json()
            orders += page["data"]
            token = query["page_token"] = page["next_token"]
    return pd.json_normalize(orders)


_DLT_TABLES = {
    "orders": "orders",
    "line_items": "orders__line_items",
    "shipments": "orders__shipments",
    "shipment_line_items": "orders__shipments__line_items",
    "packages": "orders__shipments__packages",
    "package_line_items": "orders__shipments__packages__line_items",
}


def _rest_api(listing: Listing) -> dict[str, Any]:
    return {
        "client": {
            "base_url": listing.server.base_url,
            "headers": {
                "x-trackstar-api-key": listing.server.api_key,
                "x-trackstar-access-token": listing.server.access_token,
            },
            "paginator": {
                "type": "cursor",
                "cursor_path": "next_token",
                "cursor_param": "page_token",
            },
        },
        "resources": [
            {
                "name": "orders",
                "endpoint": {
                    "path": "wms/orders",
                    "params": {"limit": listing.page_size},
                    "data_selector": "data",
                },
            }
        ],
    }


def _frames(orders: list[dict[str, Any]]) -> Frames:
    lines, shipments, shipped, packages, packed = [], [], [], [], []
    for order in orders:
        of_order = {"order_id": order["id"]}
        lines += [of_order | line for line in order.pop("line_items")]
        for shipment in order.pop("shipments"):
            of_shipment = of_order | {"shipment_id": shipment["shipment_id"]}
            shipped += [of_shipment | line for line in shipment.pop("line_items")]
            for package in shipment.pop("packages"):
                of_package = of_shipment | {"package_id": package["package_id"]}
                packed += [of_package | line for line in package.pop("line_items")]
                packages.append(of_shipment | package)
            shipments.append(of_order | shipment)
    return {
        "orders": pd.json_normalize(orders),
        "line_items": pd.DataFrame(lines),
        "shipments": pd.json_normalize(shipments),
        "shipment_line_items": pd.DataFrame(shipped),
        "packages": pd.json_normalize(packages),
        "package_line_items": pd.DataFrame(packed),
    }
