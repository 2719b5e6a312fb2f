"""One pass over many texts that tells which of a set of expressions match in which of them, and where.

Hyperscan where it is installed: all expressions at once over the joined texts, every end of a match reported.
RE2's sets otherwise, text by text, without the places. Both are told the same expressions, of ASCII alone but
for classes that hold all other characters: they and Python are at odds about which characters are digits, and
which letters are the same in another case. Where such a character stands in a text, anything may match.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import regex

from curate.kernels import jit
from curate.stages.finders.shapes import FOLDED

Places: TypeAlias = list[int] | None
"""Bytes of a text, each the last of a match; None: it may match anywhere."""

_SEPARATOR = pa.scalar(
    "\0", pa.large_string()
)  # between texts: in no class that an expression may begin after
_RARE = 100  # bytes of text for each special character, for these to be looked at one by one
_AT_ONCE = 1 << 26  # bytes of text
_MEMORY = 1 << 28  # bytes that RE2 may use; far more than it needs


class RegexSets:
    """A set of expressions; which of the two matchers is used changes no answer that is built on it."""

    def __init__(self, expressions: Sequence[str], hyperscan: bool | None = None) -> None:
        """Take hyperscan or RE2, or the first that is installed."""
        self.count = len(expressions)
        every = [*expressions, f"[{_special()}]"]
        scan = None if hyperscan is False else _hyperscan(every)
        if scan is None and hyperscan:
            raise ModuleNotFoundError("hyperscan is not installed")
        self._scan = scan
        self._match = None if scan else _re2(every)

    def places(self, texts: pa.Array) -> Iterator[tuple[int, Mapping[int, Places]]]:
        """Yield, of each text that any expression may match in, its index and the places by expression."""
        lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.cumsum(lengths)
        first = 0
        while first < len(texts):
            last = int(np.searchsorted(ends, (ends[first - 1] if first else 0) + _AT_ONCE, "right"))
            last = max(last, first + 1)
            part = texts.slice(first, last - first)
            for index, found in self._in_part(part, lengths[first:last]):
                yield first + index, found
            first = last

    def _in_part(self, texts: pa.Array, lengths: Any) -> Iterator[tuple[int, Mapping[int, Places]]]:
        if self._match is not None:
            for index, text in enumerate(texts):
                # as bytes: decoding those that nothing matches in would cost as much as matching
                if lengths[index] and (matched := self._match(text.as_buffer().to_pybytes())):
                    yield index, _anywhere(range(self.count) if self.count in matched else matched)
            return
        starts = np.cumsum(lengths + 1) - lengths - 1
        for index, found in _by_text(self._events(texts), starts, self.count + 1):
            special = found.pop(self.count, [])
            if len(special) * _RARE > lengths[index]:
                yield index, _anywhere(range(self.count))
            elif special:
                yield index, {n: sorted({*found.get(n, ()), *special}) for n in range(self.count)}
            else:
                yield index, {**found}

    def _events(self, texts: pa.Array) -> Any:
        """Return what matched up to where in the joined texts: int64 [n], place * number of expressions + which."""
        column = pc.fill_null(texts.cast(pa.large_string()), "")
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(column)], column), _SEPARATOR)
        events: list[int] = []
        append, count = events.append, self.count + 1
        assert self._scan is not None
        self._scan(memoryview(joined[0].as_buffer()), lambda which, _, end, *__: append(end * count + which))
        return np.array(events, np.int64)


def _anywhere(which: Iterable[int]) -> dict[int, Places]:
    return dict.fromkeys(which)


def _by_text(events: Any, starts: Any, count: int) -> Iterator[tuple[int, dict[int, list[int]]]]:
    """Sort events by text, expression and place, each once."""
    if not len(events):
        return
    events = np.unique(events)
    at, which = events // count - 1, events % count
    text = np.searchsorted(starts, at, "right") - 1
    order = np.lexsort((at, which, text))
    at, which, text = (at - starts[text])[order], which[order], text[order]
    breaks = np.flatnonzero(np.diff(text) | np.diff(which)) + 1
    found: dict[int, list[int]] = {}
    current = int(text[0])
    for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(at)], strict=True):
        if text[first] != current:
            yield current, found
            current, found = int(text[first]), {}
        found[int(which[first])] = at[first:last].tolist()
    yield current, found


def _special() -> str:
    r"""Return the characters that Python's \d and its comparison without case know and these matchers may not."""
    everything = "".join(map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x110000)]))
    return "".join(sorted({*FOLDED, *regex.findall(r"\d", everything)}))


def _hyperscan(expressions: Sequence[str]) -> Callable[[Any, Any], None] | None:
    """Return a function that scans a buffer and calls back for every match, or None without hyperscan.

    The compiled set is kept beside the compiled kernels, by everything that it depends on.
    """
    try:
        import hyperscan
    except ModuleNotFoundError:
        return None
    processor = Path("/proc/cpuinfo")
    flags = [line for line in processor.read_text().splitlines() if line.startswith(("flags", "Features"))][
        :1
    ]
    versions = [metadata.version("hyperscan"), platform.machine(), *flags]
    key = hashlib.sha256("\0".join([*expressions, *versions]).encode()).hexdigest()[:32]
    kept = Path(jit.cache()) / f"set-{key}.hyperscan"
    try:
        database = hyperscan.loadb(kept.read_bytes(), hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
        database.scan(b"\0", match_event_handler=lambda *_: None)
    except (OSError, hyperscan.error):
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        numbers = list(range(len(expressions)))
        database.compile(
            expressions=[expression.encode() for expression in expressions],
            ids=numbers,
            elements=len(numbers),
            flags=[hyperscan.HS_FLAG_UTF8] * len(numbers),
        )
        _keep(kept, hyperscan.dumpb(database))

    def scan(buffer: Any, heard: Any) -> None:
        database.scan(buffer, match_event_handler=heard)

    return scan


def _keep(path: Path, data: bytes) -> None:
    """Write a file that may be read at any moment; where that fails, the set is compiled again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError:
        return


def _re2(expressions: Sequence[str]) -> Callable[[bytes], Sequence[int]]:
    """Return a function that tells which expressions match in a text."""
    import re2

    options = re2.Options()
    options.max_mem = _MEMORY
    chosen = re2.Set.SearchSet(options)
    for expression in expressions:
        chosen.Add(expression)
    chosen.Compile()
    match: Callable[[bytes], Sequence[int]] = chosen.Match
    return match
