import pyarrow as pa
import pytest

from trackstar_frames.tables.assemble import keep_freed_memory, release_memory


def work():
    with keep_freed_memory():
        table = pa.table({"id": pa.array(range(1000)).cast(pa.string())})
        release_memory()
        raise OSError(table["id"][-1].as_py())


def test_arrows_pool_is_as_it_was_also_after_an_error():
    usual = pa.default_memory_pool().backend_name
    with pytest.raises(OSError, match="999"):
        work()
    assert pa.default_memory_pool().backend_name == usual
