"""A server of ``GET /wms/orders`` on this machine, with made-up orders and faults on demand.

It is written from the endpoint's documentation only, and shares no code with the client, so
that a mistake in one shows in the other.
"""

try:
    from trackstar_frames.sandbox.generator.changes import Changes
    from trackstar_frames.sandbox.server.endpoint import Request
    from trackstar_frames.sandbox.server.faults import Fault
    from trackstar_frames.sandbox.server.sandbox import Sandbox
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error}; the sandbox needs the extra 'sandbox': install trackstar_frames[sandbox]",
        name=error.name,
    ) from error

__all__ = ["Changes", "Fault", "Request", "Sandbox"]
