"""Orders in which all that `pii` hides carries a mark, and where a mark could show.

What counts as personal is spelt out here once more: nothing is read from the schema.
"""

import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq

import trackstar_frames as tf

PERSON = ("full_name", "company", "address1", "address2", "address3", "city", "postal_code")
PERSON += ("phone_number", "email_address")
MARK, DIGITS = "pl4nted", 918273645
MARKS = (MARK.encode(), str(DIGITS).encode(), MARK.encode("utf-16-le"))
ZSTD = b"\x28\xb5\x2f\xfd"  # what begins all that the cache has packed

#: Some of these unknown keys look like places of the schema.
_ODD = ("{}", "a.{}", "ship_to_address.{}", "shipments[0].{}", "[0].{}", "{}\n.sku")
_ODD += (f"{DIGITS}", f"line_items[{DIGITS}]", f"shipments[{DIGITS}].status")

#: What no dict can hold: keys given twice.
TWICE = f'{{"id": "t", "{MARK}": "{MARK}", "{MARK}": 1, "tags": ["{MARK}"], "tags": []}}'


class Planter:
    """Gives unique texts that carry a mark, and that JSON can spell in several ways."""

    def __init__(self, *, odd=True):
        self._numbers = itertools.count()
        self._odd = odd
        self.planted = 0

    def __call__(self):
        self.planted = next(self._numbers) + 1
        return f'{MARK}{self.planted - 1:04}"ö/\\'

    def unknown(self):
        if not self._odd:
            return {}
        values = [self(), {self(): self()}, [self(), DIGITS], DIGITS, None, "", True]
        keys = [key.format(self()) if "{}" in key else key for key in _ODD]
        return dict(zip(keys, itertools.cycle(values), strict=False))

    def address(self):
        named = {name: self() for name in PERSON}
        return named | {"state": "NY", "country": "US"} | self.unknown()

    def package(self):
        return {
            "package_id": "p",
            "tracking_number": self(),
            "tracking_url": f"https://carrier.example/{self()}",
            "shipping_cost": 2.5,
            "measurements": {"weight": 3, "unit": "cm"} | self.unknown(),
            "line_items": [{"sku": "A", "quantity": 1} | self.unknown()],
        } | self.unknown()

    def shipment(self, packages):
        return {
            "shipment_id": "s",
            "status": "shipped",
            "shipped_date": "2026-02-03T10:00:00Z",
            "ship_to_address": self.address(),
            "ship_from_address": {"address1": "Dock 4", "city": "Reno"} | self.unknown(),
            "line_items": [{"sku": "A", "quantity": 2} | self.unknown()],
            packages: [self.package(), {"package_id": "q"}],
        } | self.unknown()

    def order(self, name):
        return {
            "id": name,
            "created_date": "2026-02-01T10:00:00Z",
            "order_number": f"#{name}",
            "reference_id": "ref",
            "status": "fulfilled",
            "total_price": 12.5,
            "third_party_freight_account_number": "F1",
            "channel_object": {"channel_id": "c"} | self.unknown(),
            "ship_to_address": self.address(),
            "tags": [self(), None],
            "external_system_url": f"https://erp.example/{self()}",
            "trackstar_tags": [self(), {self(): self()}],
            "additional_fields": {self(): self(), "phone": DIGITS},
            "line_items": [{"sku": "A", "quantity": 2} | self.unknown()],
            "shipments": [
                self.shipment("packages"),
                self.shipment("boxes" if self._odd else "packages"),
            ],
        } | self.unknown()

    def mistyped(self):
        """Make orders with values of a wrong type; the last three have no id."""
        names = ("total_price", "created_date", "saturday_delivery", "ship_to_address", "tags")
        wrong = [{name: self()} for name in (*names, "channel_object", "line_items", "shipments")]
        wrong += [{name: f"2026-02-01T{self()}"} for name in ("created_date", "required_ship_date")]
        wrong += [{name: {self(): self()}} for name in ("tags", "shipments", "reference_id")]
        wrong += [{"tags": ["a", {self(): self()}]}, {"status": [self()]}]
        wrong += [{"external_system_url": [self()]}]
        wrong += [{"ship_to_address": {"postal_code": {"x": self()}, "full_name": [self()]}}]
        wrong += [{"ship_to_address": {"postal_code": DIGITS, "phone_number": DIGITS}}]
        wrong += [{"line_items": [self(), DIGITS, {"quantity": self(), "sku": [self()]}]}]
        wrong += [{"shipments": [self(), {"line_items": [self()], "packages": self()}]}]
        packages = [self(), {"measurements": self()}]
        wrong += [{"shipments": [{"shipped_date": self(), "packages": packages}]}]
        orders = [{"id": f"wrong-{number}"} | each for number, each in enumerate(wrong)]
        return [*orders, {"name": self()}, {"id": {"x": self()}}, {"id": "", self(): self()}]


PLANT = Planter()
ORDERS = [PLANT.order("o1"), PLANT.order("o2"), *PLANT.mistyped()]


def shown(frames):
    """Give all that frames show, or hold in memory."""
    yield from (repr(frames), frames._repr_html_(), json.dumps(frames.info))
    for name, table in frames.to_arrow().items():
        frame = getattr(frames, name)
        yield json.dumps(table.to_pylist(), default=str)
        yield from (frame.to_csv(), repr(frame.attrs), str(table.schema.metadata))
        for column in table.columns:
            for chunk in column.chunks:
                yield from (each.to_pybytes() for each in chunk.buffers() if each is not None)


def written(frames, root):
    """Give all that frames write: the files, their footers, and the same in plain."""
    snapshot = tf.write_snapshot(frames, root)
    for path in filter(lambda path: path.is_file(), root.rglob("*")):
        yield from (str(path), path.read_bytes())
    for path in root.rglob("*.parquet"):
        file = pq.ParquetFile(path)
        yield str(file.schema_arrow.metadata)
        yield json.dumps(file.metadata.to_dict(), default=str)
        plain = pa.BufferOutputStream()
        pq.write_table(file.read(), plain, compression="none", use_dictionary=False)
        yield plain.getvalue().to_pybytes()
    yield from shown(snapshot.read())
    yield repr(snapshot) + tf.list_snapshots(root).to_csv()


def marks(texts):
    """Find the marks in texts and bytes, with what stands around them."""
    found = []
    for text in texts:
        raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
        found += [raw[max(0, raw.index(mark) - 60) :][:120] for mark in MARKS if mark in raw]
    return found
