"""Where an export is written, and what it says of itself."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from curate import copies
from curate.errors import RecipeError
from curate.io.write import finished, sync, write_bytes

NAME = "export.json"
FORMAT = "curate-export/1"


@dataclass
class Tally:
    """What became of the records: seen = exported + skipped, by construction."""

    seen: int = 0
    exported: int = 0
    cut: int = 0  # of the exported ones, those that lost a part
    skipped: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: str) -> None:
        """Count a record that the format cannot hold."""
        self.skipped[reason] += 1

    def told(self) -> dict[str, Any]:
        """Return the counts, as export.json has them."""
        if self.seen != self.exported + self.skipped.total():
            raise AssertionError(
                f"{self.seen} records seen, {self.exported} exported, {self.skipped.total()} skipped"
            )
        skipped = dict(sorted(self.skipped.items()))
        return {"seen": self.seen, "exported": self.exported, "skipped": skipped, "cut": self.cut}


def target(out: str | Path, release: Path, to: str, into: str | Path | None) -> Path:
    """Return the folder of an export. Raises RecipeError for one that cannot be, or holds what is not an export."""
    if into is None:
        if copies.address(out) is not None:
            raise RecipeError(f"{out}: is in object storage; name the folder of the export: --out DIR")
        into = release.resolve().with_name(f"{release.resolve().name}-{to}")
    if "://" in str(into):
        raise RecipeError(f"--out {into}: exports are written to a disk; name a folder of this machine")
    folder = Path(into)
    inside = folder.resolve()
    if (
        inside == release.resolve()
        or release.resolve() in inside.parents
        or inside in release.resolve().parents
    ):
        raise RecipeError(
            f"--out {folder}: is the release's own folder, or one around or in it; name another"
        )
    _check(folder)
    return folder


def _check(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    said = "name another folder, or remove it"
    if not folder.is_dir():
        raise RecipeError(f"--out {folder}: is a file; {said}")
    try:
        earlier = orjson.loads((folder / NAME).read_bytes())
        known = (
            {NAME, *(entry["path"] for entry in earlier["files"])} if earlier["format"] == FORMAT else set()
        )
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    if not known:
        raise RecipeError(
            f"--out {folder}: holds what is no export ({NAME} is not there, or not ours); {said}"
        )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if foreign := sorted(there - known):
        raise RecipeError(f"--out {folder}: holds {foreign[0]}, which the export there did not write; {said}")


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give an empty folder, which takes the place of ``folder`` when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    top = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        new = top / "new"
        new.mkdir()
        yield new
        _check(folder)  # again: an export takes long
        old = top / "old"
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        sync(folder.parent)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def finish(folder: Path, told: dict[str, Any], records: dict[str, int]) -> dict[str, Any]:
    """Hash what was written, write export.json and return what it says. records: by file."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        shard = finished(path, records.get(name, 0))
        held = {"records": shard.records} if name in records else {}
        files.append({"path": name, "bytes": shard.bytes, "sha256": shard.sha256, **held})
    whole = {"format": FORMAT, **told, "files": files}
    write_bytes(folder / NAME, orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n")
    return whole
