"""A policy as a notebook shows it: in words, and what in it is not the default."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from trackstar_frames.markup import card, lines, table

if TYPE_CHECKING:
    from trackstar_frames.measures.policy import SlaPolicy

__all__ = ["policy_card"]

#: Of more warehouses or dates than these, the rest is counted.
_MOST = 10


def policy_card(policy: SlaPolicy) -> str:
    """Set the text over a table of the fields that have been chosen."""
    plain = _fields(type(policy)())
    chosen = {name: each for name, each in _fields(policy).items() if each != plain[name]}
    rows = [(name, _worded(each)) for name, each in chosen.items()]
    return card("SlaPolicy", lines([policy.text]), table(("field", "value"), rows) if rows else "")


def _fields(policy: SlaPolicy) -> dict[str, object]:
    return {each.name: getattr(policy, each.name) for each in fields(policy)}


def _worded(value: object) -> str:
    """Spell a field; of a long one, the beginning."""
    if isinstance(value, dict):
        value = [f"{key or 'all others'}: {_worded(each)}" for key, each in value.items()]
    if not isinstance(value, (list, tuple)):
        return str(value)
    more = len(value) - _MOST
    return ", ".join(map(str, value[:_MOST])) + (f" and {more:,} more" if more > 0 else "")
