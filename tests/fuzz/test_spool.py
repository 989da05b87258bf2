"""The spool's file, whatever is written over it: nothing goes out but what was stored."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.spool.directory import SpoolError
from llm_otel_broadcast.spool.file import FILE_NAME
from llm_otel_broadcast.spool.store import SpoolStore
from llm_otel_broadcast.wire.exchange import Body
from tests.support.fuzzing import fuzzed

_BYTES = 10_000_000
_AGE_S = 3_600.0


@fuzzed
@given(
    contents=st.lists(st.binary(max_size=3_000), min_size=1, max_size=4),
    damages=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=200)), min_size=1, max_size=3),
)
def test_whatever_is_written_over_the_file_no_other_body_comes_out(contents, damages):
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "spool"
        store = SpoolStore(directory, _BYTES, _AGE_S)
        for content in contents:
            store.add("d", "owner", Body(content, 1, "json"), 1)
        store.tidy()
        store.close()
        path = directory / FILE_NAME
        file = bytearray(path.read_bytes())
        for position, damage in damages:
            start = int(position * (len(file) - 1))
            file[start : start + len(damage)] = damage
        path.write_bytes(file)
        for companion in ("-wal", "-shm"):
            Path(f"{path}{companion}").unlink(missing_ok=True)
        damaged = SpoolStore(directory, _BYTES, _AGE_S)
        try:
            claimed = [stored.body.content for stored in iter(lambda: damaged.claim("d", "me", 10.0), None)]
        except SpoolError:
            claimed = []
        damaged.close()
        # in their order, though some may be gone
        remaining = iter(contents)
        assert all(any(content == other for other in remaining) for content in claimed)
