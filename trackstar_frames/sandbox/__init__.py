"""A server of ``GET /wms/orders`` on this machine, with made-up orders and faults on demand.

It is written from the endpoint's documentation alone and shares no code with the client, so
that a mistake in one shows in the other.
"""

from trackstar_frames.sandbox.faults import Fault
from trackstar_frames.sandbox.log import Request
from trackstar_frames.sandbox.server import Sandbox

__all__ = ["Fault", "Request", "Sandbox"]
