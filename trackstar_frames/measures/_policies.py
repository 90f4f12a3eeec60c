"""The policies that orders are judged by, or have been: one, or one for each value of a column."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trackstar_frames.measures import _checks, _time
from trackstar_frames.measures._time import Array
from trackstar_frames.measures.policy import SlaPolicy

#: One policy, or a map to policies from the values of a column.
PolicyLike = SlaPolicy | Mapping[Any, SlaPolicy]

#: The column of a judged frame from which its policies are known even without attrs.
JUDGED_BY = "judged_by"

_MOST_LISTED = 10

#: What attrs say of the orders that a fetch left out.
_OF_FETCH = ("filters", "limit", "complete")
#: How many values of a filter are kept, which is more than there are statuses.
_MOST_KEPT = 20


class Policies(NamedTuple):
    """Policies by the values of a column; without a column, the one policy of all orders."""

    by: str | None
    of: dict[Any, SlaPolicy]  # the value None stands for null and all values that are not here

    @property
    def zones(self) -> list[str]:
        """The names of all time zones."""
        zones: dict[str, None] = {}
        for policy in self.of.values():
            tz: Any = policy.tz
            zones.update(dict.fromkeys(tz.values() if isinstance(tz, Mapping) else [tz]))
        return list(zones)

    @property
    def zone(self) -> str:
        """The time zone of all; UTC where there are several."""
        first, *others = [policy.tz for policy in self.of.values()]
        return first if isinstance(first, str) and all(tz == first for tz in others) else "UTC"

    @property
    def text(self) -> str:
        """The policies in plain English."""
        if self.by is None:
            return self.of[None].text
        return " ".join(
            f"{self.by} {'of all others' if value is None else repr(value)}: {policy.text}"
            for value, policy in self.of.items()
        )

    def columns_needed(self) -> list[str]:
        """Return the columns that are read, but for ``warehouse_id``."""
        names = [] if self.by is None else [self.by]
        for policy in self.of.values():
            names += columns_needed(policy)
        return list(dict.fromkeys(names))

    def cover(self, others: Policies) -> bool:
        """Return whether the others are of the same column, and all among these."""
        return self.by == others.by and others.of.items() <= self.of.items()

    def is_same(self, other: Policies) -> bool:
        """Return whether the other is of the same column, with the same policies in order."""
        return self.by == other.by and [*self.of.items()] == [*other.of.items()]

    def codes(self, orders: pd.DataFrame) -> Array:
        """Return the position of each row's policy; raise if a value has none."""
        if self.by is None:
            return np.zeros(len(orders), dtype=np.int64)
        _checks.require(orders, [self.by], source="fetch_orders_df")
        rows, found = pd.factorize(_checks.column(orders, self.by))
        known, rest = list(self.of), self.of.get(None)
        missing = [value for value in found if value not in self.of] if rest is None else []
        missing += [None] if rest is None and (rows < 0).any() else []
        if missing:
            listed = ", ".join("null" if each is None else repr(each) for each in _some(missing))
            raise ValueError(
                f"policy has none for {len(missing)} of the values of {self.by!r}: {listed}; add "
                f"them, or a policy for all others under the key None"
            )
        others = known.index(None) if None in self.of else -1
        # A null has the code -1, which picks the last of these.
        places = [known.index(value) if value in self.of else others for value in found]
        return np.array([*places, others], dtype=np.int64)[rows]

    def to_info(self, as_of: pd.Timestamp) -> dict[str, Any]:
        """Return what the attrs of a judged frame hold, in JSON values."""
        when = {"as_of": as_of.isoformat(), "text": self.text, "zone_data": _time.zone_data()}
        if self.by is None:
            return {**when, **self.of[None].to_json()}
        each = [
            {"value": value, "text": policy.text, **policy.to_json()}
            for value, policy in self.of.items()
        ]
        return {**when, "policy_by": self.by, "policies": each}

    def to_judged_by(self, as_of: str | None, fetch: Mapping[str, Any] | None = None) -> list[str]:
        """Return a text of each policy and of as_of, from which `read_judged_by` reads both.

        `fetch` is what `fetch_of` returns.
        """
        default = SlaPolicy().to_json()
        known = {"as_of": as_of, **({"fetch": fetch} if fetch else {})}
        texts = []
        for value, policy in self.of.items():
            own = {"policy_by": self.by, "value": value} if self.by is not None else {}
            changed = {k: v for k, v in policy.to_json().items() if v != default.get(k)}
            texts.append(json.dumps({**known, **own, **changed}, ensure_ascii=False))
        return texts


def columns_needed(policy: SlaPolicy) -> list[str]:
    """Return the columns that one policy reads, but for ``warehouse_id``."""
    names = ["status", "created_date", f"{policy.ship_event}_shipped_date"]
    if policy.ship_event == "complete":
        names += ["last_shipped_date", "units_ordered"]
    if policy.cut_off is None:
        return [*names, "required_ship_date"]
    return names if policy.clock_start is None else [*names, policy.clock_start]


def resolve_policies(
    policy: PolicyLike | None, policy_by: str | None = None, **given: Any
) -> Policies:
    """Return the policies, or the one that single fields make; both at once is an error."""
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(policy, Mapping):
        # The keys are perhaps of an array of a column's values.
        policy = {k.item() if isinstance(k, np.generic) else k: v for k, v in policy.items()}
        _check_map(policy, policy_by, given)
        return Policies(policy_by, {k: policy[k] for k in sorted(policy, key=lambda k: k is None)})
    if policy is not None and not isinstance(policy, SlaPolicy):
        raise TypeError(
            f"policy is a {type(policy).__name__}; pass an SlaPolicy, such as "
            f"SlaPolicy.on_time_shipment(), or a map from the values of a column to them"
        )
    if policy_by is not None:
        raise ValueError(
            f"policy_by={policy_by!r} needs a policy for each value of that column; pass them as "
            f"policy={{value: SlaPolicy(...), None: SlaPolicy(...)}}"
        )
    if policy is None:
        return Policies(None, {None: SlaPolicy(**given)})
    if given:
        changes = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ValueError(
            f"{', '.join(given)} given with a policy; change the policy with "
            f"dataclasses.replace(policy, {changes})"
        )
    return Policies(None, {None: policy})


def _check_map(policy: Mapping[Any, Any], policy_by: object, given: dict[str, Any]) -> None:
    if given:
        raise ValueError(
            f"{', '.join(given)} given with a policy; change each policy with dataclasses.replace"
        )
    if not isinstance(policy_by, str):
        raise TypeError(
            f"policy is a map, and policy_by={policy_by!r} is no column; name the column of its "
            f"keys, such as policy_by='type'"
        )
    if not policy:
        raise ValueError("policy is an empty map; pass an SlaPolicy for each value of policy_by")
    for value, each in policy.items():
        is_value = isinstance(value, str | int | float) and not pd.isna(value)
        if value is not None and not is_value:
            raise TypeError(
                f"policy has the key {value!r}; use values of {policy_by!r}, and None for null and "
                f"the rest"
            )
        if not isinstance(each, SlaPolicy):
            raise TypeError(f"policy[{value!r}] is a {type(each).__name__}; pass an SlaPolicy")


class Judgement(NamedTuple):
    """By which policies, and as of when, a frame has been judged."""

    info: dict[str, Any]  # as attrs hold it
    policies: Policies
    fetch: Mapping[str, Any] | None = None  # as `fetch_of` returns it

    @property
    def judged_by(self) -> list[str]:
        """The texts that `JUDGED_BY` may have in rows judged in this way."""
        return self.policies.to_judged_by(self.info.get("as_of"), self.fetch)

    @property
    def as_of(self) -> pd.Timestamp | None:
        """The moment of judging; None if that is unknown."""
        when = self.info.get("as_of")
        return None if when is None else _time.instant("as_of", when)

    @property
    def now(self) -> np.datetime64:
        """The moment of judging, as NumPy has it; raise if it is unknown."""
        if self.as_of is None:
            raise ValueError("it is unknown as of when this frame was judged; judge it anew")
        return _time.now_of(self.as_of)


def judgement_of(judged: pd.DataFrame) -> Judgement | None:
    """Return how a frame was judged, by its column or its attrs; None if it has lost both."""
    info = _checks.measure_info(judged, "compliance")
    kept = None if info is None else Judgement(info, _policies_of(info), fetch_of(judged))
    texts = judged_by_of(judged)
    if not texts:
        return kept
    if kept and set(texts) <= set(kept.judged_by):
        return kept
    return read_judged_by(texts)


def require_judgement(judged: pd.DataFrame) -> Judgement:
    """Return how a frame was judged; raise if it has lost that."""
    judgement = judgement_of(judged)
    if judgement is None:
        raise ValueError(
            f"this frame has lost its policy (the column {JUDGED_BY!r} and attrs['trackstar']"
            f"['compliance']), so that it is unknown by which policy, and as of when, it was "
            f"judged; judge it anew with ship_date_compliance"
        )
    return judgement


def judged_as_of(judged: pd.DataFrame) -> pd.Timestamp | None:
    """Return as of when a frame was judged; None if that is unknown."""
    judgement = judgement_of(judged)
    return None if judgement is None else judgement.as_of


def judged_by_of(judged: pd.DataFrame) -> list[str]:
    """Return the different texts of a frame's column, if it has one."""
    if JUDGED_BY not in judged.columns:
        return []
    found = judged[JUDGED_BY].dropna().unique()
    return [str(text) for text in found]


def read_judged_by(texts: Iterable[str]) -> Judgement:
    """Return how the rows with these texts were judged; raise if in more than one way."""
    read = [json.loads(text) for text in dict.fromkeys(texts)]
    moments = sorted({str(each.pop("as_of")) for each in read})
    fetches = [each.pop("fetch", None) for each in read]
    fetch = fetches[0] if all(each == fetches[0] for each in fetches) else None
    # The same policy may stand there for several fetches.
    read = [each for place, each in enumerate(read) if each not in read[:place]]
    keys = [(each.pop("policy_by", None), each.pop("value", None)) for each in read]
    columns = {by for by, _ in keys}
    if len(moments) > 1:
        raise ValueError(
            f"these orders have been judged as of different moments ({', '.join(_some(moments))}); "
            f"judge all of them anew: ship_date_compliance(orders, policy=policy, as_of=...)"
        )
    if len(columns) > 1 or len(set(keys)) < len(keys):
        texts = ", ".join(_some([repr(SlaPolicy.from_json(each).text) for each in read]))
        raise ValueError(
            f"these orders have been judged by different policies: {texts}; judge all of them "
            f"anew, together: ship_date_compliance(orders, policy={{value: policy}}, "
            f"policy_by=column)"
        )
    pairs = zip(keys, read, strict=True)
    of = {value: SlaPolicy.from_json(each) for (_, value), each in pairs}
    ordered = {
        value: of[value] for value in sorted(of, key=lambda value: (value is None, str(value)))
    }
    policies = Policies(columns.pop(), ordered)
    return Judgement(policies.to_info(_time.instant("as_of", moments[0])), policies, fetch)


def fetch_of(frame: pd.DataFrame) -> dict[str, Any] | None:
    """Return what a frame's attrs say of orders that its fetch left out; None if it left none."""
    known = frame.attrs.get("trackstar", {})
    found = {name: known[name] for name in _OF_FETCH if name in known}
    if not found.get("filters") and found.get("limit") is None and found.get("complete", True):
        return None
    short = {
        name: value[:_MOST_KEPT] if isinstance(value, list) else value
        for name, value in (found.get("filters") or {}).items()
    }
    return {**found, "filters": short}


def with_attrs(judged: pd.DataFrame) -> pd.DataFrame:
    """Return a judged frame whose attrs are lost with what its column tells of them."""
    if JUDGED_BY not in judged.columns or judged.attrs.get("trackstar"):
        return judged
    judgement = judgement_of(judged)
    if judgement is None:
        return judged
    whole = judged.copy(deep=False)
    known = {**(judgement.fetch or {}), "compliance": judgement.info}
    whole.attrs = {**judged.attrs, "trackstar": known}
    return whole


def _policies_of(info: dict[str, Any]) -> Policies:
    known = {each.name for each in fields(SlaPolicy)} | {"tz_default", "holidays_default"}

    def read(values: dict[str, Any]) -> SlaPolicy:
        return SlaPolicy.from_json({k: v for k, v in values.items() if k in known})

    if "policies" not in info:
        return Policies(None, {None: read(info)})
    return Policies(info["policy_by"], {each["value"]: read(each) for each in info["policies"]})


def policy_codes(judged: pd.DataFrame, judgement: Judgement) -> Array:
    """Return the position of the policy by which each row has been judged."""
    policies = judgement.policies
    if len(policies.of) == 1:
        return np.zeros(len(judged), dtype=np.int64)
    if JUDGED_BY not in judged.columns:
        return policies.codes(judged)
    texts = judgement.judged_by
    rows, found = pd.factorize(judged[JUDGED_BY])
    if (rows < 0).any():
        raise ValueError(
            f"{JUDGED_BY!r} is null for {(rows < 0).sum():,} of these orders, so that it is "
            f"unknown by which policy they were judged; judge all of them anew, together, with "
            f"ship_date_compliance"
        )
    return np.array([*map(texts.index, found)], dtype=np.int64)[rows]


def codes_of(orders: pd.DataFrame, policies: Policies) -> Array:
    """Return the position of each row's policy, also of rows judged by these without `by`."""
    if JUDGED_BY in orders.columns and policies.by not in (None, *orders.columns):
        judgement = judgement_of(orders)
        if judgement is not None and judgement.policies.is_same(policies):
            return policy_codes(orders, judgement)
    return policies.codes(orders)


def zones_of(frame: Any, policy: PolicyLike | None, policy_by: str | None) -> Policies:
    """Return the policies whose zones are used: those given, or that a frame was judged by."""
    judgement = judgement_of(frame) if policy is None and _is_judged(frame) else None
    return judgement.policies if judgement else resolve_policies(policy, policy_by)


def resolve_moment(frame: Any, as_of: object, policies: Policies) -> pd.Timestamp:
    """Return `as_of`, or that of a frame that has been judged, or when it was fetched."""
    if as_of is None and _is_judged(frame):
        as_of = judged_as_of(frame)
    return _time.resolve_as_of(frame, as_of, zone=policies.zone)


def _is_judged(frame: Any) -> bool:
    return isinstance(frame, pd.DataFrame) and "outcome" in frame.columns


def local_times(
    judged: pd.DataFrame,
    judgement: Judgement | None,
    stamps: Array,
    rows: Array | slice = slice(None),
) -> Array:
    """Return moments of judged orders, or of these rows of them, on their warehouses' clocks.

    They are in UTC if it is unknown how the orders were judged.
    """
    if judgement is None:
        return stamps
    names = [JUDGED_BY, "warehouse_id", *filter(None, [judgement.policies.by])]
    judged = judged[_checks.present(judged, names)].iloc[rows]
    codes, walls = policy_codes(judged, judgement), np.full(len(stamps), _time.NAT)
    zones = [policy.tz for policy in judgement.policies.of.values()]
    if all(zone == zones[0] for zone in zones):
        return _time.convert_by_zone(judged, stamps, zones[0], _time.local)
    for code, zone in enumerate(zones):
        of_zone = np.flatnonzero(codes == code)
        part = judged.iloc[of_zone]
        walls[of_zone] = _time.convert_by_zone(part, stamps[of_zone], zone, _time.local)
    return walls


def created_times(orders: pd.DataFrame, policies: Policies) -> Array:
    """Return when orders were created, on the clocks of the policies' zones."""
    # Without what they have been judged by, perhaps: it is these policies that count.
    names = _checks.present(orders, ["warehouse_id", *filter(None, [policies.by])])
    created = _time.instants(orders, "created_date")
    return local_times(orders[names], Judgement({}, policies), created)


def of_policies(
    judged: pd.DataFrame, judgement: Judgement, read: Callable[[SlaPolicy], Any]
) -> Array:
    """Return what `read` gives for the policy of each row."""
    values: Array = np.array([read(policy) for policy in judgement.policies.of.values()])
    return values[policy_codes(judged, judgement)]


def ship_events(judged: pd.DataFrame, judgement: Judgement) -> Array:
    """Return when the ship event of each order's policy happened; NaT if not by as_of."""
    events = of_policies(judged, judgement, lambda policy: policy.ship_event)
    stamps = np.full(len(judged), _time.NAT)
    for event in np.unique(events):
        of_event = _time.instants(judged, f"{event}_shipped_date")
        stamps = np.where(events == event, of_event, stamps)
    return np.where(stamps <= judgement.now, stamps, _time.NAT)


def _some(values: list[Any]) -> list[Any]:
    return values[:_MOST_LISTED] + (["..."] if len(values) > _MOST_LISTED else [])
