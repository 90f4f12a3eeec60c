"""A fault in any thread of an export or a sync ends in that error, and in nothing half done."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

import trackstar_frames as tf
from trackstar_frames import storage
from trackstar_frames.sandbox import Sandbox
from trackstar_frames.snapshots import spill, upsert, writer
from trackstar_frames.snapshots.manifest import Manifest
from trackstar_frames.tables import compare
from trackstar_frames.tables.assemble import keep_freed_memory

NOW = "2026-09-01T12:00:00Z"
ORDERS = [
    {
        "id": f"o{n:03}",
        "created_date": f"2026-07-{1 + n % 28:02}T00:00:00Z",
        "updated_date": "2026-08-01T00:00:00Z",
        "trackstar_updated_date": "2026-08-01T00:00:00Z",
        "line_items": [{"sku": "X", "quantity": n}],
    }
    for n in range(60)
]
CHANGED = [{**each, "status": "packed", "trackstar_updated_date": NOW} for each in ORDERS]

STEPS = {
    "assemble": (upsert, "assemble"),
    "compare": (compare, "changed_in"),
    "read": (upsert, "read_table"),
    "read a column": (upsert, "read_column"),
    "write": (writer.PartWriter, "_write_file"),
    "store": (storage, "write"),
    "finish": (storage, "rename_files"),
    "manifest": (Manifest, "write"),
    "spill": (spill._Run, "write"),
    "read the spill": (spill._Run, "read"),
    "deduplicate": (spill.Spill, "deduplicate"),
    "sort": (spill, "sort"),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    shrink(monkeypatch)


def shrink(monkeypatch):
    monkeypatch.setattr(spill, "_RUN_SIZE", 20)
    monkeypatch.setattr(writer, "PART_SIZE", 20)


def fail_at(monkeypatch, owner, name, nth, error):
    """Have one call of many fail, on whatever thread it is."""
    real, lock, calls = getattr(owner, name), threading.Lock(), [0]

    def work(*given, **options):
        with lock:
            calls[0] += 1
            fails = calls[0] == nth
        if fails:
            raise error
        return real(*given, **options)

    monkeypatch.setattr(owner, name, work)
    return calls


ONCE = ("deduplicate", "manifest")


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Serve orders that have all changed since the snapshot of a folder."""
    root = tmp_path_factory.mktemp("base")
    with Sandbox(orders=ORDERS, rate_limit=None) as sandbox, pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        client = sandbox.client(rate_limit=None, cache=False)
        tf.export_orders(root, client=client)
        sandbox.upsert(CHANGED)
        yield client, root


@pytest.mark.one_of(4)
@pytest.mark.parametrize(
    ("step", "nth"),
    [
        *((step, 1) for step in STEPS),
        *(pytest.param(step, 3, marks=pytest.mark.slow) for step in STEPS if step not in ONCE),
    ],
)
def test_a_fault_of_any_step_ends_a_sync(changed, tmp_path, monkeypatch, step, nth):
    error = MemoryError("too much") if nth == 1 else OSError("the disk is full")
    client, base = changed
    root = shutil.copytree(base, tmp_path / "root")
    names = [each.name for each in root.iterdir()]
    usual = pa.default_memory_pool().backend_name
    with monkeypatch.context() as faults:
        calls = fail_at(faults, *STEPS[step], nth, error)
        with pytest.raises((type(error), tf.SnapshotError), match=str(error)):
            tf.sync_orders(root, client=client, page_size=30)
    assert calls[0] >= nth
    assert [each.name for each in root.iterdir()] == names
    assert pa.default_memory_pool().backend_name == usual
    assert tf.sync_orders(root, client=client).read().orders["status"].eq("packed").all()


@pytest.mark.skipif("jemalloc" not in pa.supported_memory_backends(), reason="another pool")
def test_the_pool_is_the_usual_one_again_after_works_side_by_side():
    usual = pa.default_memory_pool().backend_name
    first, second = keep_freed_memory(), keep_freed_memory()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert pa.default_memory_pool().backend_name == "jemalloc"
    second.__exit__(None, None, None)
    assert pa.default_memory_pool().backend_name == usual


def test_the_pool_is_the_usual_one_after_many():
    usual = pa.default_memory_pool().backend_name
    begun = threading.Barrier(4)

    def work(_):
        for _ in range(50):
            with keep_freed_memory():
                pass
        begun.wait()
        with keep_freed_memory():
            begun.wait()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert pa.default_memory_pool().backend_name == usual


@pytest.mark.slow
def test_a_part_whose_every_order_has_changed_is_as_if_new(serve, tmp_path):
    sandbox = serve(orders=ORDERS)
    client = sandbox.client(rate_limit=None, cache=False)
    tf.sync_orders(tmp_path / "synced", client=client)
    sandbox.upsert([{**each, "total_price": "odd"} for n, each in enumerate(CHANGED) if n % 3])
    synced = tf.sync_orders(tmp_path / "synced", client=client).read().to_arrow()
    for name, table in tf.export_orders(tmp_path / "all", client=client).read().to_arrow().items():
        assert synced[name].equals(table), name
        assert all(column.num_chunks == 1 for column in synced[name].columns)
