"""Surveys of parquet and Arrow files: from their footers, as far as these tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.io.columns import FUNCTION_CALL, Column, Observer, of_arrow, plain_array
from curate.io.files import opened_arrow
from curate.io.layouts import Layout
from curate.io.lines import reason_for
from curate.io.outline import Segment, Survey, Task, Unfit, refuse_twins


def damaged(layout: Layout, error: BaseException) -> str:
    """Return found; expected; what to do, for what reading a file of this layout raised.

    Arrow reports most damage as an OSError without a number. What it says of a text format could quote a
    record, and is not repeated.
    """
    told = isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and not error.errno)
    if not told or layout not in ("parquet", "arrow"):
        return reason_for(error)
    words = str(error).partition("\n")[0][:120].rstrip(". ")
    return f"truncated or damaged ({words}); expected a whole {layout} file; fetch or write it again"


def survey_parquet(task: Task) -> Survey:
    """Look at a parquet file: footer, places of its row groups, statistics. Raises Unfit, or as Arrow."""
    with opened_arrow(task.location) as file:
        length = file.size()
        parquet = pq.ParquetFile(file)
        about, schema = parquet.metadata, parquet.schema_arrow
        refuse_twins(schema.names)
        segments: list[Segment] = []
        first_row = 1
        for i in range(about.num_row_groups):
            group = about.row_group(i)
            chunks = [group.column(j) for j in range(group.num_columns)]
            ends = [_chunk_start(chunk) + chunk.total_compressed_size for chunk in chunks]
            inside = min(map(_chunk_start, chunks), default=4) >= 4 and max(ends, default=0) <= length
            if group.num_rows and not inside:
                raise Unfit(f"row group {i} lies outside of the file; expected a whole file; fetch it again")
            segments.append(Segment(i, i + 1, first_row, group.num_rows, group.total_byte_size))
            first_row += group.num_rows
        columns = {field.name: _parquet_column(field, about) for field in schema}
        _look_at_texts(task, columns, _text_batches(parquet, task, columns))
        for leaf in _speakers(task, columns, about):
            for batch in parquet.iter_batches(columns=[leaf], use_threads=False):
                _look_for_calls(columns, batch)
        return Survey(first_row - 1, tuple(segments), tuple(sorted(columns.items())))


def _chunk_start(chunk: Any) -> int:
    first = chunk.dictionary_page_offset
    return int(first if first is not None and 0 < first < chunk.data_page_offset else chunk.data_page_offset)


def _parquet_column(field: pa.Field, about: Any) -> Column:
    """Describe a column, by its chunks' statistics: greatest magnitude, keys of turns not all null."""
    largest: int | None = 0
    live: set[str] = set()
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        for j in range(group.num_columns):
            chunk = group.column(j)
            parts = chunk.path_in_schema.split(".")
            if not (chunk.path_in_schema + ".").startswith(field.name + "."):
                continue
            known = chunk.statistics
            if known is None or not known.has_null_count or known.null_count < chunk.num_values:
                live.update(parts)
            if largest is not None and pa.types.is_integer(field.type) and chunk.num_values:
                bounded = known is not None and known.has_min_max
                empty = known is not None and known.has_null_count and known.null_count == chunk.num_values
                largest = (
                    max(largest, abs(known.min), abs(known.max)) if bounded else largest if empty else None
                )
    return of_arrow(field.type, largest, _turn_keys(field.type) & live)


def _speakers(task: Task, columns: dict[str, Column], about: Any) -> list[str]:
    """Return the leaves of a parquet file that hold who speaks, in sharegpt turns."""
    paths = [about.schema.column(i).path for i in range(len(about.schema))]
    roots = [name for name in task.turns if name in columns and "from" in columns[name].turn_keys]
    return [path for path in paths if path.split(".")[0] in roots and path.split(".")[-1] == "from"]


def _look_for_calls(columns: dict[str, Column], batch: pa.RecordBatch) -> None:
    """Note turns whose speaker is function_call: reading them gives them a key (curate.io.turns)."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        held = columns.get(name)
        if held is None or "from" not in held.turn_keys:
            continue
        column = plain_array(column)
        flat = column.flatten() if hasattr(column.type, "value_type") else column
        if (
            pa.types.is_struct(flat.type)
            and pc.any(pc.equal(pc.struct_field(flat, "from"), FUNCTION_CALL)).as_py()
        ):
            columns[name] = Column(held.atoms, held.turn_keys | {"tool_calls"}, held.arrow)


def _turn_keys(arrow: pa.DataType) -> set[str]:
    inner = arrow if pa.types.is_struct(arrow) else getattr(arrow, "value_type", None)
    if inner is None or not pa.types.is_struct(inner):
        return set()
    return {inner.field(i).name for i in range(inner.num_fields)}


def _text_batches(parquet: Any, task: Task, columns: dict[str, Column]) -> Iterator[pa.RecordBatch]:
    if names := [name for name in task.turns if _is_text(columns.get(name))]:
        yield from parquet.iter_batches(batch_size=256, columns=names, use_threads=False)


def _is_text(column: Column | None) -> bool:
    return column is not None and column.arrow is not None and pa.types.is_string(column.arrow)


def _look_at_texts(task: Task, columns: dict[str, Column], batches: Iterator[pa.RecordBatch]) -> None:
    """Find the keys of turns that are kept as JSON text."""
    observer = Observer(task.turns)
    for batch in batches:
        for name in (n for n in task.turns if n in batch.schema.names and _is_text(columns.get(n))):
            texts = plain_array(batch.column(name))
            for value in texts.cast(pa.binary()).to_pylist():  # which need not be UTF-8
                observer.look_at_text(name, value or b"")
    for name, keys in observer.keys.items():
        columns[name] = Column(columns[name].atoms, frozenset(keys), columns[name].arrow)


def survey_arrow(task: Task) -> Survey:
    """Look at an Arrow file or stream: every record batch. Raises Unfit, or what Arrow raises."""
    with opened_arrow(task.location, mapped=True) as file:
        streamed = file.read(6) != b"ARROW1"
        file.seek(0)
        reader = pa.ipc.open_stream(file) if streamed else pa.ipc.open_file(file)
        refuse_twins(reader.schema.names)
        columns = {f.name: of_arrow(f.type, None, _turn_keys(f.type)) for f in reader.schema}
        segments: list[Segment] = []
        first_row = 1

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal first_row
            for i, batch in enumerate(arrow_batches(reader, streamed)):
                segments.append(Segment(i, i + 1, first_row, batch.num_rows, batch.nbytes))
                first_row += batch.num_rows
                if names := [name for name in task.turns if name in columns]:
                    _look_for_calls(columns, batch.select(names))
                yield batch

        _look_at_texts(task, columns, batches())
        if streamed:  # a stream has no index, so it is read from its beginning: one unit
            segments = [Segment(0, len(segments), 1, first_row - 1, sum(part.bytes for part in segments))]
        return Survey(first_row - 1, tuple(segments), tuple(sorted(columns.items())))


def arrow_batches(
    reader: Any, streamed: bool, start: int = 0, stop: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of an Arrow file, or all those of a stream."""
    if streamed:
        yield from reader
    else:
        for i in range(start, reader.num_record_batches if stop is None else stop):
            yield reader.get_batch(i)
