"""Deduplication of records that say something beside their turns' contents: calls of tools, replies that lost."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import dedup, sketches

from curate import record
from curate.record import MESSAGES, Batch
from curate.stages.exact import Exact
from curate.stages.minhash import MinHash

LONG = " ".join(f"word{i}" for i in range(60))


def batch(records: Sequence[dict[str, Any]]) -> Batch:
    """Build a batch with the columns that stand beside the turns."""
    plain = sketches.batch([{"messages": one["messages"]} for one in records])
    extra = pa.array([one.get("messages_extra") for one in records], pa.string())
    rejected = pa.array([one.get("rejected") for one in records], MESSAGES)
    return record.with_column(record.with_column(plain, "messages_extra", extra), "rejected", rejected)


def chat(prompt: str, response: str, *calls: tuple[int, str, Any], lost: str | None = None) -> dict[str, Any]:
    """Return a record; calls are (turn, function, arguments)."""
    found = sketches.chat(prompt, response)
    keys: list[Any] = [None, None]
    for number, (turn, name, arguments) in enumerate(calls):
        keys[turn] = keys[turn] or {"tool_calls": []}
        function = {"name": name, "arguments": orjson.dumps(arguments).decode()}
        keys[turn]["tool_calls"].append({"id": f"call_{id(found)}_{number}", "function": function})
    if calls:
        found["messages_extra"] = orjson.dumps(keys).decode()
    if lost is not None:
        found["rejected"] = [{"role": "assistant", "content": lost}]
    return found


def kept(barrier: Any, records: Sequence[dict[str, Any]]) -> list[int]:
    """Return the records that the barrier keeps, each unit one record, by their place."""
    whole = batch(records)
    units = [[whole.slice(i, 1)] for i in range(whole.num_rows)]
    with tempfile.TemporaryDirectory() as scratch:
        found = sketches.judge(sketches.resolve(barrier, units, Path(scratch)), [whole])
    return [i for i, line in enumerate(found.values()) if line["action"] != "drop"]


CALLS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["f", "g"]),
        st.sampled_from([{}, {"a": 1, "b": "É"}, {"b": "é", "a": 1}]),
    ),
    max_size=2,
)
RECORDS = st.builds(
    lambda prompt, response, calls, lost: chat(prompt, response, *calls, lost=lost),
    st.sampled_from(["x", "X "]),
    st.sampled_from(["", "no idea", LONG]),
    CALLS,
    st.sampled_from([None, "", "no idea", "No  idea", LONG]),
)


@given(st.lists(RECORDS, min_size=2, max_size=8))
@settings(deadline=None, max_examples=30)
def test_equal_are_records_with_the_same_turns_calls_and_lost_reply(records: list[dict[str, Any]]) -> None:
    groups = defaultdict(list)
    for place, one in enumerate(records):
        groups[dedup.content(one)].append(place)
    for barrier in (Exact(Exact.Options()), MinHash(MinHash.Options())):
        found = kept(barrier, records)
        assert sorted(len(set(group) & set(found)) for group in groups.values()) == [1] * len(groups)


def test_near_duplicates_fall_only_to_a_record_with_the_same_calls_and_lost_reply() -> None:
    paris, rome = ((1, "weather", {"city": city}) for city in ("Paris", "Rome"))
    records = [
        chat("the forecast please", LONG, paris),
        chat("the forecast please", f"{LONG} more", paris),
        chat("the forecast please", LONG, rome),
        chat("the forecast please", LONG, (0, *paris[1:])),
        chat("the forecast please", LONG, lost="that it is wet"),
        chat("the forecast please", f"{LONG} more", lost="that it is dry"),
        chat("the forecast please", f"{LONG} more", lost="That it  is dry"),
        chat("the forecast please", LONG),
    ]
    for on in ("both", "whole", "prompt"):
        found = kept(MinHash(MinHash.Options(on=on)), records)
        assert len(found) == 6, on
        assert {2, 3, 4, 7} < set(found)


def test_the_calls_count_as_length_of_the_record_that_stays() -> None:
    from curate.kernels import survivor

    lengths = survivor.describe(batch([chat("x", "y", (1, "f", {"a": 1})), chat("x", "y")]))[2]
    assert lengths.to_pylist() == [2 + len('f({"a":1})'), 2]


def test_swapped_preferences_are_no_duplicates() -> None:
    records = [chat("which", LONG, lost="short"), chat("which", "short", lost=LONG)]
    assert (
        kept(Exact(Exact.Options()), records) == kept(MinHash(MinHash.Options(on="whole")), records) == [0, 1]
    )
