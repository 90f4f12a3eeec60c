"""What connections need, and how long machines take for it: formulas of a few lines. Pure."""

import inspect
import math
from dataclasses import dataclass

from _figures import Connection, Figures

import trackstar_frames as tf
from trackstar_frames.snapshots.parquet import PART

_YEAR = 8760  # hours
_OTHER_STAMPS = 2  # a sync asks by three, and most changes come by the first
_MONTHS = 12  # in a year

#: What may be used up first; of equals, the first of these is named.
RESOURCES = ("rate", "CPU", "network", "memory", "disk")


@dataclass(frozen=True)
class Work:
    """What one connection needs for one thing: a full load, or an hourly sync.

    Attributes
    ----------
    name
        How a table calls it.
    requests, wait_seconds
        How many, and how long its token takes for them at least.
    cpu_seconds
        Of all cores.
    received_bytes, written_bytes
        By the network, not compressed; to disk.
    memory_bytes
        While it is done.
    """

    name: str
    requests: float
    wait_seconds: float
    cpu_seconds: float
    received_bytes: float
    written_bytes: float
    memory_bytes: float


def full_load(connection: Connection, figures: Figures) -> Work:
    """Tell what the first export of a connection needs."""
    orders = connection.orders
    return Work(
        "full load",
        requests=figures.requests(orders),
        wait_seconds=figures.wait_seconds(orders),
        cpu_seconds=orders * figures.export_cpu_seconds,
        received_bytes=orders * figures.json_bytes,
        written_bytes=orders * figures.export_disk_bytes,
        memory_bytes=min(orders, PART) * figures.order_bytes,
    )


def hourly_sync(connection: Connection, figures: Figures) -> Work:
    """Tell what one connection's sync needs, each hour."""
    asked, rewritten = connection.asked_orders, figures.rewritten_orders(connection.orders)
    rewriting = figures.sync_cpu_seconds + rewritten * figures.rewrite_cpu_seconds
    return Work(
        "hourly sync",
        requests=figures.requests(asked) + _OTHER_STAMPS,
        wait_seconds=figures.wait_seconds(asked),
        cpu_seconds=rewriting + asked * figures.export_cpu_seconds,
        received_bytes=asked * figures.json_bytes,
        written_bytes=rewritten * figures.parquet_bytes,
        memory_bytes=min(connection.orders, PART) * figures.order_bytes,
    )


@dataclass(frozen=True)
class Fleet:
    """What does the work. All sizes are choices, to be replaced by yours.

    Attributes
    ----------
    name
        How a table calls it.
    machines, processes, cores
        How many machines, of how many processes each, of how many cores each.
    at_once
        Connections that a process is at, side by side.
    memory_bytes, network_megabits_per_second
        Of each machine.
    disk_bytes_per_second
        Of the one disk that all snapshots are on. More than one machine reach it by the network.
    """

    name: str
    machines: int = 1
    processes: int = 1
    cores: float = 1
    at_once: int = 2
    memory_bytes: float = 64e9
    network_megabits_per_second: float = 5000
    disk_bytes_per_second: float = 250e6

    def seconds(self, work: Work, connections: int, figures: Figures) -> dict[str, float]:
        """Tell how long each resource alone would take; all of it takes as long as the longest.

        That of memory is 0 where it has room for all connections that are to be side by side.
        """
        waits = connections * work.wait_seconds
        fit = self._fit(work, figures)
        return {
            "rate": max(work.wait_seconds, waits / self._slots(self.at_once)),
            "CPU": connections * work.cpu_seconds / self._busy_cores(connections, figures),
            "network": connections * self._network_bytes(work) / self._network_bytes_per_second,
            "memory": 0.0 if fit == self.at_once else _over(waits, self._slots(fit)),
            "disk": connections * work.written_bytes / self.disk_bytes_per_second,
        }

    def worker_bytes(self, work: Work, figures: Figures) -> float:
        """Tell how much memory one process needs."""
        return figures.process_bytes + self.at_once * work.memory_bytes

    def _slots(self, at_once: float) -> float:
        return self.machines * self.processes * at_once

    def _busy_cores(self, connections: int, figures: Figures) -> float:
        """Count the cores at work: some of a process' work is for one of them at a time."""
        serial = figures.serial_share
        each = self.cores / (serial * self.cores + 1 - serial) if self.cores > 1 else self.cores
        return each * min(connections, self.machines * self.processes)

    def _fit(self, work: Work, figures: Figures) -> int:
        """Count the connections at once that a process' share of the memory has room for."""
        room = self.memory_bytes / self.processes - figures.process_bytes
        return max(0, min(self.at_once, int(room // work.memory_bytes)))

    def _network_bytes(self, work: Work) -> float:
        return work.received_bytes + (work.written_bytes if self.machines > 1 else 0)

    @property
    def _network_bytes_per_second(self) -> float:
        return self.machines * self.network_megabits_per_second * 1e6 / 8


def _over(seconds: float, slots: float) -> float:
    return seconds / slots if slots else math.inf


def saturated(seconds: dict[str, float]) -> str:
    """Name the resource that takes the longest."""
    return max(RESOURCES, key=seconds.__getitem__)


def needed_cores(fleet: Fleet, work: Work, connections: int, within_seconds: float) -> int:
    """Count the processes of one core each that do it in time, if nothing else is short.

    More than one for each connection are of no use.
    """
    waits = connections * work.wait_seconds / fleet.at_once
    return math.ceil(max(waits, connections * work.cpu_seconds) / within_seconds)


def yearly_bytes(connection: Connection, figures: Figures) -> float:
    """Tell what a year of one connection's hourly snapshots takes, if all are kept."""
    first = connection.orders * figures.parquet_bytes
    return first + _YEAR * hourly_sync(connection, figures).written_bytes


def thinned_bytes(connection: Connection, figures: Figures) -> float:
    """Tell what is left of that year after `prune_snapshots`, at most: they share little then."""
    kept = {
        name: parameter.default
        for name, parameter in inspect.signature(tf.prune_snapshots).parameters.items()
        if name in ("latest", "daily", "weekly", "monthly")
    }
    kept["monthly"] = min(kept["monthly"], _MONTHS)
    return sum(kept.values()) * connection.orders * figures.parquet_bytes
