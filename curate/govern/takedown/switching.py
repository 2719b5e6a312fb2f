"""A take-down carried out: prepared in OUT/work/takedown, then switched, by a journal that can be followed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import IntegrityError, RecipeError
from curate.govern import derived, measures, mixture, signing
from curate.govern import manifest as manifests
from curate.govern.takedown import account
from curate.govern.takedown.erasing import Erased, beside, erase
from curate.govern.takedown.matching import Matched, match
from curate.govern.takedown.request import Request
from curate.govern.takedown.tables import Tables
from curate.io.write import finished, sync, write_bytes
from curate.record import CURATE
from curate.stages.suppress import FOLDER
from curate.stages.suppressing import suppression
from curate.stages.suppressing.suppression import KEY_NAME, NAME, Secret
from curate.stages.suppressing.wanted import Rule

JOURNAL = "journal.json"
_MEMORY = 2 * 10**9  # bytes that DuckDB may use
Finish = Callable[[Path, dict[str, Any]], None]


@dataclass(frozen=True)
class TakenDown:
    """What a take-down did, or would do."""

    request: int | None  # its number; None where nothing was done
    records: int  # those asked for
    near_duplicates: int  # erased with them
    removed: int  # of both, from data/
    shards: tuple[str, ...]  # files written again
    impact: dict[str, Any]
    contained: tuple[str, ...] = ()  # ids of records that hold a text, and were left
    root: str | None = None  # of the manifest that is there now
    key_file: str | None = None  # where the suppression list's key is
    resumed: bool = False  # a take-down that had been stopped was finished


def place_of_key(out: Path, key_file: Path | None) -> Path:
    """Return where the suppression list's key is or will be. Raises RecipeError for a place inside the release."""
    path = (key_file or out.resolve().parent / KEY_NAME).resolve()
    if out.resolve() in path.parents:
        raise RecipeError(
            f"--key-file {path}: lies in the release, whoever has which could test guesses; keep it apart"
        )
    return path


def secret_of(out: Path, path: Path, *, make: bool) -> Secret | None:
    """Return the key, made where there is none yet; None where none is and none may be made."""
    held = out / FOLDER / NAME
    if not path.exists():
        if held.is_file():
            raise RecipeError(
                f"{path}: there is no such key, and {held} was made with one (fingerprint "
                f"{suppression.read(held).fingerprint}); put it there, or name it with --key-file"
            )
        if not make:
            return None
        suppression.new_key(path)
    secret = suppression.read_key(None, path)
    if held.is_file() and (made_with := suppression.read(held).fingerprint) != secret.fingerprint:
        raise IntegrityError(
            f"{path}: is another key than {held} was made with: its fingerprint is {secret.fingerprint}, that one's "
            f"{made_with}; name the right one with --key-file"
        )
    return secret


def find(tables: Tables, manifest: Mapping[str, Any], request: Request, key_file: Path | None) -> Matched:
    """Return what a request erases; writes nothing. Raises RecipeError where it cannot be carried out."""
    secret = secret_of(tables.out, place_of_key(tables.out, key_file), make=False)
    _not_again(tables.out, request, secret)
    return match(tables, request, Rule.of(manifest["recipe"]["stages"]))


def preview(tables: Tables, manifest: Mapping[str, Any], request: Request, matched: Matched) -> TakenDown:
    """Return what a take-down would do; writes nothing."""
    out = tables.out
    shards = sorted(erase(tables, matched, _number(out), out, writes=False).shards)
    told = account.impact(out, manifest, request, matched, shards)
    return TakenDown(None, matched.records - matched.near, matched.near, told["rows"]["data"], tuple(shards), told,
                     _left(matched))  # fmt: skip


def carry_out(
    tables: Tables, manifest: Mapping[str, Any], request: Request, matched: Matched, work: Path, key_file: Path | None,
    finish: Finish,
) -> TakenDown:  # fmt: skip
    """Erase what was found. work: OUT/work, held for this alone. finish: writes documents and manifest."""
    out = tables.out
    if manifests.load(out)["root"] != manifest["root"]:
        raise IntegrityError(f"{out}: was changed while its records were searched; run it again")
    path = place_of_key(out, key_file)
    secret = secret_of(out, path, make=True)
    assert secret is not None
    times = {"received": request.received or account.now(), "verified": account.now()}
    folder = work / "takedown"
    shutil.rmtree(folder, ignore_errors=True)
    new = folder / "new"
    new.mkdir(parents=True)
    number = _number(out)
    erased = erase(tables, matched, number, new)
    rule = Rule.of(manifest["recipe"]["stages"])
    journal = _prepared(out, manifest, request, matched, erased, number, times, secret, rule)
    journal |= {"fingerprint": request.fingerprint(secret), "key_file": str(path)}
    sync(new)
    write_bytes(folder / JOURNAL, orjson.dumps(journal))
    return follow(out, folder, finish, _left(matched))


def _left(matched: Matched) -> tuple[str, ...]:
    return tuple(sorted(set(matched.containing.values())))


def _number(out: Path) -> int:
    log = out / FOLDER / account.REQUESTS
    return 1 + (len(log.read_bytes().splitlines()) if log.is_file() else 0)


def _not_again(out: Path, request: Request, secret: Secret | None) -> None:
    """Raise RecipeError if an id was taken down before: it is nowhere to be found, and that is no mistake."""
    held = out / FOLDER / NAME
    if secret is None or not held.is_file() or not request.ids:
        return
    table = suppression.read(held).table.select(["request", "kind", "value"])
    known = {row["value"]: row["request"] for row in table.to_pylist() if row["kind"] == "id"}
    again = [(name, known[value]) for name in request.ids if (value := secret.value("id", name)) in known]
    if again:
        raise RecipeError(
            [f"--id {name}: was taken down by request {number}; take it out" for name, number in again]
        )


def _prepared(
    out: Path, manifest: Mapping[str, Any], request: Request, matched: Matched, erased: Erased, number: int,
    times: dict[str, str], secret: Secret, rule: Rule,
) -> dict[str, Any]:  # fmt: skip
    """Write everything that will be switched, and return the journal of it."""
    content = (out / manifests.NAME).read_bytes()
    new = erased.folder
    told = account.impact(out, manifest, request, matched, sorted(erased.shards))
    mine = {entry["path"] for entry in manifest["outputs"] if entry["path"].split("/")[0] in derived.MAKERS}
    # What the renderers and makers count is counted over the tables as they will be.
    linked = [
        e["path"] for e in manifest["outputs"] if e["path"] not in mine and not e["path"].startswith(FOLDER)
    ]
    beside(out, new, linked)
    remade = {
        shard.path.relative_to(new).as_posix(): shard
        for shards in derived.write(new, _MEMORY).values()
        for shard in shards
    }
    measured = _measured(new, manifest)
    times["done"] = account.now()
    written = {
        **erased.shards,
        **remade,
        **_takedown_files(out, new, number, manifest, request, matched, erased, times, secret, rule, told),
    }
    splits = {e["path"]: {"split": e["split"]} for e in manifest["outputs"] if "split" in e}
    entries = {path: manifests.output(shard, new) | splits.get(path, {}) for path, shard in written.items()}
    rest = [
        entry for entry in manifest["outputs"] if entry["path"] not in entries and entry["path"] not in mine
    ]
    superseded = _superseded(out, manifest)
    revised = account.revised(
        manifest,
        content,
        number,
        request,
        matched,
        erased,
        times,
        [*rest, *entries.values(), *superseded],
        measured,
    )
    return {
        "request": number,
        "manifest": revised,
        "moves": sorted(written),
        "removes": sorted(mine - set(remade)),
        "old_root": manifest["root"],
        "impact": told,
    }


def _measured(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest counts from the tables.

    Where removed/ was not kept, an empty table stands in for it, and what the run counted there stays counted.
    """
    if next(folder.glob("removed/part-*"), None) is not None:
        return measures.measure(folder, manifest["recipe"], _MEMORY)
    before = manifest["statistics"]
    facts = [("language", pa.string())] + [("language_mixed", pa.bool_())] * ("languages_untold" in before)
    schema = pa.schema([("source", pa.string()), (CURATE, pa.struct([("facts", pa.struct(facts))]))])
    (folder / "removed").mkdir()
    pq.write_table(schema.empty_table(), folder / "removed" / "part-00000.parquet")
    found = measures.measure(folder, manifest["recipe"], _MEMORY)
    shutil.rmtree(folder / "removed")
    removed = {(row["source"], row["language"]): row["before"] - row["after"] for row in before["languages"]}
    kept = {(row["source"], row["language"]): row["after"] for row in found["statistics"]["languages"]}
    languages = [
        {"source": key[0], "language": key[1], "before": kept.get(key, 0) + n, "after": kept.get(key, 0)}
        for key, n in removed.items()
        if kept.get(key, 0) + n
    ]
    languages.sort(key=lambda row: (row["source"], -row["before"], row["language"]))
    untold = {key: before[key] for key in ("languages_untold",) if key in before}
    statistics = {**found["statistics"], "languages": languages, **untold}
    if manifest.get("mixture") is not None:  # a group that was among the largest may be no more
        every = mixture.measure(folder, manifest["recipe"], _MEMORY, listed=None)
        found["mixture"] = mixture.after_erasing(manifest["mixture"], every)
    return {**found, "statistics": statistics}


def _takedown_files(
    out: Path, new: Path, number: int, manifest: Mapping[str, Any], request: Request, matched: Matched,
    erased: Erased, times: Mapping[str, str], secret: Secret, rule: Rule, told: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Write the suppression list, the log and the impact report; return them by path."""
    held, folder = out / FOLDER, new / FOLDER
    folder.mkdir(exist_ok=True)
    earlier = suppression.read(held / NAME).table if (held / NAME).is_file() else None
    table = account.listed(earlier, number, request, matched, erased, rule, secret, manifest)
    suppression.write(folder / NAME, table, secret)
    log = held / account.REQUESTS
    entry = account.entry(number, request, matched, erased, times, manifest)
    before = log.read_bytes() if log.is_file() else b""
    (folder / account.REQUESTS).write_bytes(before + account.logged(request, matched, entry, secret))
    report = f"impact-{number}.json"
    (folder / report).write_bytes(
        orjson.dumps({"request": number, **told}, option=orjson.OPT_INDENT_2) + b"\n"
    )
    counts = {NAME: table.num_rows, account.REQUESTS: number, report: 1}
    return {f"{FOLDER}/{name}": finished(folder / name, n) for name, n in counts.items()}


def _superseded(out: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how the manifest lists the signature that a take-down sets aside."""
    if not (out / signing.NAME).is_file():
        return []
    shard = finished(out / signing.NAME, 1)
    path = signing.SUPERSEDED.format(root=manifest["root"][:16])
    return [{**manifests.output(shard, out), "path": path}]


def follow(
    out: Path, folder: Path, finish: Finish, left: tuple[str, ...] = (), *, resumed: bool = False
) -> TakenDown:
    """Do what the journal says, from wherever it was stopped. The old manifest goes first, the new one comes last."""
    journal = orjson.loads((folder / JOURNAL).read_bytes())
    manifest = journal["manifest"]
    if not _is_finished(out, manifest):
        _switch(out, folder, journal, finish)
    entry = manifest["takedowns"][-1]
    return TakenDown(
        journal["request"], entry["records"], entry["near_duplicates"], entry["removed"], tuple(entry["shards"]),
        journal["impact"], left, manifest["root"], journal["key_file"], resumed,
    )  # fmt: skip


def _is_finished(out: Path, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the take-down was stopped when its manifest was there: who signed it since keeps that."""
    try:
        return manifest["takedowns"][-1] in manifests.load(out).get("takedowns", ())
    except (RecipeError, IntegrityError):
        return False


def _switch(out: Path, folder: Path, journal: Mapping[str, Any], finish: Finish) -> None:
    (out / manifests.NAME).unlink(missing_ok=True)
    sync(out)
    signing.set_aside(out, journal["old_root"])
    for path in journal["moves"]:
        if (folder / "new" / path).is_file():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "new" / path).replace(out / path)
            sync((out / path).parent)
    for path in journal["removes"]:
        (out / path).unlink(missing_ok=True)
    sync(out)
    finish(out, journal["manifest"])


def is_same(journal: Mapping[str, Any], request: Request) -> bool:
    """Tell whether a journal is of this request."""
    secret = suppression.read_key(None, Path(journal["key_file"]))
    return bool(journal["fingerprint"] == request.fingerprint(secret))


def stopped(work: Path) -> dict[str, Any] | None:
    """Return the journal of a take-down that was stopped half-way, None if there is none."""
    path = work / "takedown" / JOURNAL
    found: dict[str, Any] | None = orjson.loads(path.read_bytes()) if path.is_file() else None
    return found
