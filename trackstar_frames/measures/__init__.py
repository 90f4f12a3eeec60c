"""Measures over the frames of orders: frame in, frame out, nothing fetched, read or drawn.

Every table carries in ``attrs["trackstar"]`` what it was made from: when the data was
fetched and, for compliance, the whole policy. A rate never stands without its n.
"""

from trackstar_frames.measures.backlog import backlog
from trackstar_frames.measures.compliance import OUTCOMES, ship_date_compliance
from trackstar_frames.measures.cycle_time import cycle_time, cycle_time_curve
from trackstar_frames.measures.fills import fill_rates
from trackstar_frames.measures.late import late_orders
from trackstar_frames.measures.moves import TRANSITIONS, redated, transitions
from trackstar_frames.measures.otif import ship_otif
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.quality import data_quality
from trackstar_frames.measures.rates import compliance_rate
from trackstar_frames.measures.status import status_mix

__all__ = [
    "OUTCOMES",
    "TRANSITIONS",
    "SlaPolicy",
    "backlog",
    "compliance_rate",
    "cycle_time",
    "cycle_time_curve",
    "data_quality",
    "fill_rates",
    "late_orders",
    "redated",
    "ship_date_compliance",
    "ship_otif",
    "status_mix",
    "transitions",
]
