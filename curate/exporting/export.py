"""``curate export``: read a release's records once, write them as a trainer reads them, count each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from curate import __version__
from curate.engine.local import Tick
from curate.errors import RecipeError
from curate.exporting import axolotl, llamafactory, mds, trl, writing
from curate.exporting.encoder import Encoder, Longer
from curate.exporting.packing import Packing
from curate.exporting.shapes import Record
from curate.exporting.sinks import Lines, Mosaic, Packed, Sink, Tars, Whole
from curate.exporting.writing import Tally
from curate.pipeline import Watch
from curate.release import Release, load
from curate.source import parse_size
from curate.yamlfile import nearest

To: TypeAlias = Literal["trl", "llama-factory", "axolotl", "webdataset", "mds", "megatron", "tokens"]
TARGETS: tuple[str, ...] = get_args(To)
LENGTH = 2048  # tokens of a row, where no --length is given
SHARD_SIZE = "256MB"
_BATCH = 1024  # records in hand at once
_ONLY: Mapping[str, tuple[str, ...]] = {  # options that not all formats have
    "completion": ("trl",),
    "shard_size": ("webdataset", "mds", "tokens"),
    "tokenizer": ("tokens", "megatron"),
    "template": ("tokens", "megatron"),
    "length": ("tokens",),
    "longer": ("tokens",),
    "packing": ("tokens",),
}


@dataclass(frozen=True)
class Exported:
    """An export that was written."""

    folder: Path
    told: dict[str, Any]  # what its export.json says


def export(
    out: str | Path,
    to: str,
    into: str | Path | None = None,
    *,
    split: str | None = None,
    shuffle: int | None = None,
    verify: bool = False,
    completion: bool | None = None,
    shard_size: str | int | None = None,
    tokenizer: str | Path | None = None,
    template: str | None = None,
    length: int | None = None,
    longer: Longer | None = None,
    packing: Packing | None = None,
    watch: Watch | None = None,
    tick: Tick | None = None,
) -> Exported:
    """Write a release's training records as a trainer reads them (``curate export``), into a folder of their own.

    to: one of :data:`TARGETS`. into: the folder, default ``OUT-<to>`` beside the release; what an earlier export left
    there is replaced, anything else refused. split: one alone, default all. shuffle: seed of the records' order,
    default the release's. verify: check every shard's SHA-256 first. The rest belongs to some formats alone:
    completion (trl): prompt and completion in place of messages. shard_size: bytes, about. tokenizer: folder or id of a
    fast tokenizer. template: ``plain`` or a Jinja file, default the tokenizer's own. length: tokens of a row.
    longer: what becomes of a record that is longer (:meth:`curate.exporting.encoder.Encoder.encode`), default cut.
    packing: see :func:`curate.exporting.packing.pack`, default best-fit.

    Raises RecipeError for what cannot be carried out as asked, all of it together, IntegrityError for a release that
    is not as its manifest says; either way nothing is written.
    """
    given = {
        "completion": completion or None, "shard_size": shard_size, "tokenizer": tokenizer, "template": template,
        "length": length, "longer": longer, "packing": packing,
    }  # fmt: skip
    options = _options(to, given)
    release = load(out)
    folder = writing.target(out, release.path, to, into)
    wanted = [split] if split is not None else list(release.splits)
    streams = {name: release.records(split=name, shuffle=shuffle, verify=verify) for name in wanted}
    encoder = Encoder.of(str(tokenizer), template) if "tokenizer" in options else None
    tally, watch = Tally(), watch or Watch()
    watch.begin(f"export to {to}", sum(map(len, streams.values())))
    with writing.replacing(folder) as new:
        sink = _sink(to, new, options, encoder, release)
        for name, records in streams.items():
            for batch in _batches(iter(records)):
                tally.seen += len(batch)
                sink.add(name, batch, tally)
                if tick is not None:
                    tick(len(batch), sum(map(_size, batch)))
        files, more = sink.close()
        whole = writing.finish(
            new,
            {
                "to": to,
                "release": {key: release.manifest[key] for key in ("name", "version", "root")},
                "options": {"split": split, "shuffle": shuffle, **_shown(options)},
                "software": _software(to),
                "counts": tally.told(),
                **more,
            },
            {path.relative_to(new).as_posix(): count for path, count in files.items()},
        )
    watch.end()
    return Exported(folder, whole)


def _options(to: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a format's options with their defaults. Raises RecipeError with all that is wrong with them."""
    if to not in TARGETS:
        raise RecipeError(f"--to {to}: no such format{nearest(to, TARGETS)}")
    problems = [
        f"--{name.replace('_', '-')}: belongs to --to {' or '.join(_ONLY[name])}, not to {to}; leave it out"
        for name, value in given.items()
        if value is not None and to not in _ONLY[name]
    ]
    options = {name: value for name, value in given.items() if to in _ONLY[name]}
    if "tokenizer" in options and options["tokenizer"] is None:
        problems.append(f"--to {to}: needs --tokenizer, a folder with a tokenizer.json or an id on the hub")
    if "length" in options:
        options |= {name: options[name] or default for name, default in _PACKED.items()}
        if options["length"] < 2:
            problems.append(
                f"--length {options['length']}: at least 2 tokens, of which the second can be learnt"
            )
        for name, known in (("longer", get_args(Longer)), ("packing", get_args(Packing))):
            if options[name] not in known:
                problems.append(f"--{name} {options[name]}: allowed: {', '.join(known)}; write one of these")
    if "shard_size" in options:
        try:
            size = parse_size(options["shard_size"] or (mds.SHARD_SIZE if to == "mds" else SHARD_SIZE))
            if to == "mds" and size > mds.LARGEST:
                problems.append(f"--shard-size {size}: a shard of MDS holds less than 4 GB")
            options["shard_size"] = size
        except ValueError as error:
            problems.append(f"--shard-size: {error}")
    if problems:
        raise RecipeError(problems)
    return options


_PACKED: Mapping[str, Any] = {"length": LENGTH, "longer": "cut", "packing": "best-fit"}


def _sink(
    to: str, folder: Path, options: Mapping[str, Any], encoder: Encoder | None, release: Release
) -> Sink:
    if encoder is not None and to == "tokens":
        how = [options[name] for name in ("length", "longer", "packing", "shard_size")]
        return Packed(folder, encoder, *how)
    if encoder is not None:
        return Whole(folder, encoder)
    if to == "webdataset":
        return Tars(folder, options["shard_size"])
    if to == "mds":
        return Mosaic(folder, options["shard_size"])
    if to == "trl":
        return Lines(folder, partial(trl.shape, completion=bool(options["completion"])), None)
    if to == "axolotl":
        return Lines(folder, axolotl.shape, axolotl.notes)
    return Lines(folder, llamafactory.shape, partial(llamafactory.notes, name=release.manifest["name"]))


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, _BATCH)):
        yield batch


def _size(record: Record) -> int:
    """Return how long a record's content is, in characters: for the display alone."""
    turns = record.get("messages") or ()
    return len(record.get("text") or "") + sum(len(turn.get("content") or "") for turn in turns)


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as export.json has them: without paths of this machine."""
    return {name: value for name, value in options.items() if name not in ("tokenizer", "template")}


def _software(to: str) -> dict[str, str]:
    """Return the versions of what the export's bytes depend on."""
    names = {"tokens": ("pyarrow", "tokenizers", "transformers"), "megatron": ("tokenizers", "transformers")}
    names["webdataset"] = ("webdataset",)
    return {"curate": __version__, **{name: version(name) for name in cast(Any, names.get(to, ()))}}
