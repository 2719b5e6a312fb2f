"""A run whose inputs, work/ and release are in S3 makes the bytes of a run on a disk, also where requests fail.

The server is moto's, a process on loopback (tests/s3server.py). It does not show what a service of many machines does:
its consistency, throttling by prefix, limits of parts and rates, IAM, endpoints and regions.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3server
from conftest import RECIPE, contents, make_corpus
from s3server import S3Server

import curate
from curate import custody, lock, remote
from curate.copies import address
from curate.errors import RecipeError, StorageError
from curate.folder import Folder
from curate.io import patience
from curate.io.allowance import Allowance
from curate.io.store import Store
from curate.lock import Holder, Lease
from curate.pipeline import Watch


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.running(tmp_path_factory.mktemp("s3") / "log") as found:
        yield found


@pytest.fixture(scope="module")
def whole(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Return a recipe whose inputs are in S3, and what a run of the same files on a disk leaves."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, records=60)
    for path in folder.rglob("*.jsonl"):
        Store("s3://bucket/in").upload(path, path.relative_to(folder).as_posix())
    recipe = RECIPE.replace("docs/", "s3://bucket/in/docs/").replace("[pairs", "[s3://bucket/in/pairs")
    (folder / "curate.yaml").write_text(recipe)
    return folder / "curate.yaml", contents(
        curate.run(folder / "curate.yaml", folder / "disk", workers=1).path
    )


def _fetched(url: str, folder: Path) -> dict[str, bytes]:
    there = Store(url)
    for name in there.sizes():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        there.download(name, folder / name)
    return contents(folder)


def _released(recipe: Path, url: str) -> str:
    """Put the release that was made on the disk into S3, whose bytes are those of one made there."""
    disk = recipe.parent / "disk"
    names = [path.relative_to(disk).as_posix() for path in disk.rglob("*") if path.is_file()]
    Store(url).each(lambda name: Store(url).upload(disk / name, name), names)
    return url


@pytest.mark.parametrize("percent", [0, 10])
def test_a_release_in_s3_has_the_bytes_of_one_on_a_disk(
    server: S3Server, whole: tuple[Path, dict[str, bytes]], tmp_path: Path, percent: int
) -> None:
    recipe, expected = whole
    url = f"s3://bucket/out-{percent}"
    server.fail(percent, seed=4)
    try:
        release = curate.run(recipe, url, workers=2)
    finally:
        failed = server.counts()["failed"]
        server.fail(0)
    assert (failed > 10) == bool(percent)
    assert (release.place, release.reused) == (url, False)
    assert _fetched(url, tmp_path / "fetched") == expected
    if percent:
        return
    assert curate.run(recipe, url, workers=1).reused
    Store(url).discard(["data/part-00000.parquet"])
    assert not curate.run(recipe, url, workers=1).reused
    assert _fetched(url, tmp_path / "again") == expected


def test_every_command_that_reads_or_changes_a_release_does_so_in_s3(
    server: S3Server, whole: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    recipe, _ = whole
    url = _released(recipe, "s3://bucket/governed")
    report = custody.verify(url)
    assert (report.ok, report.out) == (True, url)
    loaded = curate.load(url)
    record = loaded.ledger().fetchall()[0][0]
    assert curate.explain(url, record).id == record
    signed = custody.sign(url, new_key=tmp_path / "key.pem")
    assert signed.path == f"{url}/manifest.dsse.json"
    assert custody.verify(url, key=tmp_path / "key.pem.pub").ok
    with pytest.raises(RecipeError, match="give --key-file"):
        custody.takedown(url, ids=["docs/1"])
    done = custody.takedown(url, ids=["docs/1"], key_file=tmp_path / "suppression.key")
    assert done.removed >= 1
    assert custody.verify(url).ok
    assert not [name for name in Store(url).sizes() if name.startswith("work/")]
    difference = curate.diff(recipe.parent / "disk", url)
    assert difference.counts
    assert str(custody.datasheet(url)[0]).startswith(url)
    with pytest.raises(RecipeError, match=r"^s3://bucket/nothing: "):
        curate.load("s3://bucket/nothing")


def test_a_change_that_is_killed_half_way_is_finished_by_the_next_command(
    server: S3Server, whole: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _ = whole
    url = _released(recipe, "s3://bucket/switched")
    copies: list[str] = []
    copy = Store.copy

    def dies(store: Store, name: str, new: str) -> None:
        copies.append(name)
        if len(copies) == 3:
            raise KeyboardInterrupt
        copy(store, name, new)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "copy", dies)
        with pytest.raises(KeyboardInterrupt):
            custody.takedown(url, ids=["docs/2"], key_file=tmp_path / "suppression.key")
    with pytest.raises(RecipeError, match=f"stopped half-way; 'curate datasheet {url}' finishes it"):
        custody.verify(url)
    custody.datasheet(url)
    assert custody.verify(url).ok
    with pytest.raises(RecipeError, match="was taken down by request 1"):
        custody.takedown(url, ids=["docs/2"], key_file=tmp_path / "suppression.key")


def _command(*arguments: str) -> list[str]:
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); from curate.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def test_a_killed_run_goes_on_where_it_was_and_tells_no_secret(
    server: S3Server, whole: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    recipe, expected = whole
    url = "s3://bucket/killed"
    command = _command("run", str(recipe), "--out", url, "--workers", "2")
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while process.poll() is None and not any(
            name.startswith("work/units/") for name in Store(url).sizes()
        ):
            time.sleep(0.05)
        refused = pytest.raises(
            RecipeError, match=rf"another run \(process {process.pid} on .*\) is working there; if"
        )
        with refused:
            curate.run(recipe, url, workers=1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    left = Store(url).sizes()
    assert "manifest.json" not in left
    units = {name for name in left if name.startswith("work/units/")}
    assert units
    again = subprocess.run(command, capture_output=True)
    assert again.returncode == 0, again.stderr.decode()
    assert b"ended without letting go; its lock is taken over" in again.stderr
    assert _fetched(url, tmp_path / "fetched") == expected
    told = [again.stdout, again.stderr, (tmp_path / "output").read_bytes()]
    told += [path.read_bytes() for path in (tmp_path / "fetched").rglob("*") if path.is_file()]
    for secret in (s3server.KEY, s3server.SECRET, "127.0.0.1"):
        assert not any(secret.encode() in text for text in told), secret


def _held(work: Store, notes: list[str], act: Callable[[Lease], None]) -> None:
    with lock.leased(work, "s3://bucket/lock", notes.append) as lease:
        act(lease)


def test_a_lock_of_another_machine_is_honoured_until_it_gives_no_sign_of_life(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SETTLE", 0.01)
    monkeypatch.setattr(lock, "BEAT", 0.05)
    work = Store("s3://bucket/lock/work")
    notes: list[str] = []
    other = Holder("elsewhere", 7, "2026-01-01T00:00:00Z", "another machine", "token")
    work.write(lock.NAME, other.dumps())
    with pytest.raises(
        RecipeError, match=r"another run \(process 7 on elsewhere, since 2026-01-01T00:00:00Z\) is working"
    ):
        _held(work, notes, lambda lease: None)
    assert (set(work.sizes()), notes) == ({lock.NAME}, [])
    monkeypatch.setattr(lock, "STALE", 0.0)

    def overtaken(lease: Lease) -> None:
        lease.check()
        time.sleep(0.2)
        lease.check()
        work.write(lock.NAME, other.dumps())
        time.sleep(0.2)  # it is not written over
        lease.check()

    with pytest.raises(StorageError, match="another run has taken over"):
        _held(work, notes, overtaken)
    assert Holder.of(work.read(lock.NAME)) == other
    assert len(notes) == 1


def test_a_password_in_an_address_and_a_folder_of_somebody_s_own_are_refused(
    server: S3Server, whole: tuple[Path, dict[str, bytes]]
) -> None:
    recipe, _ = whole
    with pytest.raises(RecipeError, match=r"^s3://bucket/x: was given with a user, a password") as caught:
        curate.run(recipe, "s3://me:hunter2@bucket/x", workers=1)
    assert "hunter2" not in str(caught.value)
    Store("s3://bucket/mine").write("thesis.txt", b"mine")
    with pytest.raises(
        RecipeError, match=r"--out s3://bucket/mine: holds thesis.txt and no release; name an empty"
    ):
        curate.run(recipe, "s3://bucket/mine", workers=1)
    Store("s3://bucket/in").write("work/curate.lock", Holder(ended=True).dumps())
    with pytest.raises(RecipeError, match="lies in the release folder s3://bucket/in"):
        curate.run(recipe, "s3://bucket/in", workers=1)


def test_what_is_not_curate_s_in_work_is_told_and_left(
    server: S3Server, whole: tuple[Path, dict[str, bytes]]
) -> None:
    recipe, _ = whole
    url = "s3://bucket/foreign"
    notes: list[str] = []
    Store(url).write("work/curate.lock", Holder(ended=True).dumps())
    Store(url).write("work/units/mine.txt", b"mine")
    Store(url).write(f"work/units/{'0' * 32}/records.arrow", b"half")
    curate.run(recipe, url, workers=1, watch=Watch(note=notes.append))
    assert {name for name in Store(url).sizes() if name.startswith("work/")} == {"work/units/mine.txt"}
    assert (
        notes[-1]
        == f"{Store.at(url).child('work/units').url}: holds what is not curate's; it is left as it is"
    )


def test_a_run_that_was_taken_for_dead_changes_nothing_of_the_release_made_meanwhile(
    server: S3Server, whole: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, expected = whole
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text().replace("similarity: 0.7", "similarity: 0.3"))
    monkeypatch.setattr(lock, "SETTLE", 0.01)
    upload, create = Store.upload, Store.create

    def meanwhile(url: str) -> None:  # this process is stopped for long, and another takes over
        monkeypatch.setattr(Store, "upload", upload)
        monkeypatch.setattr(Store, "create", create)
        Store(url).write(f"work/{lock.NAME}", Holder(ended=True).dumps())
        curate.run(recipe, url, workers=1)

    def stopped_at_data(store: Store, local: Path, name: str, *rest: Callable[[], None]) -> None:
        if name.startswith("data/") and "work" not in store.url.split("/"):
            meanwhile(store.url)
        upload(store, local, name, *rest)

    def stopped_at_manifest(store: Store, name: str, content: bytes) -> bool:
        if name == "manifest.json":
            meanwhile(store.url)
        return create(store, name, content)

    for where, stopped in (("upload", stopped_at_data), ("create", stopped_at_manifest)):
        url = f"s3://bucket/stopped-{where}"
        monkeypatch.setattr(Store, where, stopped)
        with pytest.raises(StorageError, match="this one stops here"):
            curate.run(other, url, workers=1)
        assert _fetched(url, tmp_path / where) == expected


def test_new_answers_that_are_cut_off_leave_the_manifest_that_holds_the_earlier_ones(
    server: S3Server, whole: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _ = whole
    url = _released(recipe, "s3://bucket/revised")
    folder = tmp_path / "held"
    _fetched(url, folder)

    def dies(store: Store, local: Path, name: str, *rest: Callable[[], None]) -> None:
        raise KeyboardInterrupt

    def write(home: Folder) -> None:
        (home.path / "manifest.json").write_bytes(b"{}")

    with remote.at(url, print) as home, home.working(False, print):
        monkeypatch.setattr(Store, "upload", dies)
        with pytest.raises(KeyboardInterrupt):
            home.revise(lambda: write(home))
    assert Store(url).read("manifest.json") == (folder / "manifest.json").read_bytes()


def test_files_in_transfer_take_a_bounded_part_of_memory() -> None:
    allowance, most, held, guard = Allowance(100), 0, 0, threading.Lock()

    def transfer(size: int) -> None:
        nonlocal most, held
        with allowance.taking(size):
            with guard:
                held += min(size, 100)
                most = max(most, held)
            time.sleep(0.005)
            with guard:
                held -= min(size, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(transfer, [30, 1000, 50, 20, 100, 40, 60, 10] * 3))
    assert 60 < most <= 100
    assert held == 0


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("S3://bucket/x", "no storage of the kind S3:// is known"),
        ("nope://bucket/x", "no storage of the kind nope:// is known"),
        ("file:///tmp/x", "is a folder of this machine; name it by its path, without file://"),
        ("s3://bucket/../x", "is no place for a release"),
        ("s3://bucket//x", "is no place for a release"),
        ("s3://bucket/", "is no place for a release"),
    ],
)
def test_an_address_where_no_release_can_be_is_refused(out: str, told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        address(out)


def test_an_endpoint_that_is_no_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def request() -> None:
        asked.append(1)
        raise ValueError("Invalid endpoint: me:hunter2")

    with pytest.raises(StorageError, match="the endpoint in the environment is no address") as caught:
        patience.patiently(request, "s3://bucket/x")
    assert (len(asked), "hunter2" in str(caught.value)) == (1, False)
