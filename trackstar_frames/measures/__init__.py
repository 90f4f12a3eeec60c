"""Measures of orders: they take frames and return frames, without any I/O.

The ``attrs["trackstar"]`` of every table hold when its data were fetched and, for compliance, the
whole policy. Every rate comes with its n.
"""

from trackstar_frames.measures.backlog import backlog
from trackstar_frames.measures.compliance_rate import compliance_rate
from trackstar_frames.measures.cycle_time import cycle_time, cycle_time_curve
from trackstar_frames.measures.data_quality import data_quality
from trackstar_frames.measures.fill_rates import fill_rates
from trackstar_frames.measures.late_orders import late_orders
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.ship_date_compliance import OUTCOMES, ship_date_compliance
from trackstar_frames.measures.ship_otif import ship_otif
from trackstar_frames.measures.status_mix import status_mix
from trackstar_frames.measures.transitions import TRANSITIONS, moved_due_dates, transitions

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
    "moved_due_dates",
    "ship_date_compliance",
    "ship_otif",
    "status_mix",
    "transitions",
]
