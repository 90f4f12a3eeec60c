"""Plots of what the measures compute; the only package that imports matplotlib.

Each function draws on `ax`, or on a new figure with constrained layout, and returns the axes;
`plot_overview` makes a page of them. None shows or saves a figure, fetches, or changes matplotlib's
settings. Every plot states its number of orders, and its as-of time, unless ``note=False``.

A group has the same colour in all pictures of a frame: the six groups with most rows in it have one
each, in the order of their values, so that frames with the same groups have the same colours, too.
Another group that is drawn takes a colour that is free, or is grey; orders without a group are
light grey.
"""

try:
    from trackstar_frames.plots.backlog import plot_backlog
    from trackstar_frames.plots.compliance import plot_ship_date_compliance
    from trackstar_frames.plots.cycle_time import plot_cycle_time
    from trackstar_frames.plots.due_next import plot_due_next
    from trackstar_frames.plots.heatmap import plot_compliance_heatmap
    from trackstar_frames.plots.lateness import plot_lateness
    from trackstar_frames.plots.overview import plot_overview
    from trackstar_frames.plots.scorecard import plot_scorecard
    from trackstar_frames.plots.status import plot_status_mix
    from trackstar_frames.plots.throughput import plot_throughput
    from trackstar_frames.plots.transitions import plot_status_transitions
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error}; the plots need the extra 'plots': install trackstar_frames[plots]",
        name=error.name,
    ) from error

__all__ = [
    "plot_backlog",
    "plot_compliance_heatmap",
    "plot_cycle_time",
    "plot_due_next",
    "plot_lateness",
    "plot_overview",
    "plot_scorecard",
    "plot_ship_date_compliance",
    "plot_status_mix",
    "plot_status_transitions",
    "plot_throughput",
]
