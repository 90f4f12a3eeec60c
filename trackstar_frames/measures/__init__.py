"""Measures of orders: they take frames and return frames, without any I/O.

The ``attrs["trackstar"]`` of every table hold when its data were fetched and, for compliance, the
whole policy. Every rate comes with its n.
"""

from trackstar_frames.measures.backlog import backlog
from trackstar_frames.measures.compliance_rate import compliance_rate
from trackstar_frames.measures.cycle_time import cycle_time, cycle_time_curve
from trackstar_frames.measures.data_quality import data_quality
from trackstar_frames.measures.due_next import DUE_BUCKETS, due_next
from trackstar_frames.measures.failure_rates import failure_rates
from trackstar_frames.measures.fill_rates import fill_rates
from trackstar_frames.measures.late_orders import late_orders
from trackstar_frames.measures.policy import SlaPolicy
from trackstar_frames.measures.service_profile import service_profile
from trackstar_frames.measures.ship_date_compliance import OUTCOMES, ship_date_compliance
from trackstar_frames.measures.ship_otif import ship_otif
from trackstar_frames.measures.shipping_costs import shipping_costs
from trackstar_frames.measures.sla_scorecard import sla_scorecard
from trackstar_frames.measures.status_mix import status_mix
from trackstar_frames.measures.throughput import throughput
from trackstar_frames.measures.transitions import TRANSITIONS, moved_due_dates, transitions

__all__ = [
    "DUE_BUCKETS",
    "OUTCOMES",
    "TRANSITIONS",
    "SlaPolicy",
    "backlog",
    "compliance_rate",
    "cycle_time",
    "cycle_time_curve",
    "data_quality",
    "due_next",
    "failure_rates",
    "fill_rates",
    "late_orders",
    "moved_due_dates",
    "service_profile",
    "ship_date_compliance",
    "ship_otif",
    "shipping_costs",
    "sla_scorecard",
    "status_mix",
    "throughput",
    "transitions",
]
