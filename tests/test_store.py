"""The run's file system keeps one contract on a disk, in S3 and in memory, also where requests fail.

What the server on loopback does not show: several servers behind one name, and so real consistency and throttling;
limits of parts (5 MiB each, 10,000 of them) and of time; IAM, of which it refuses nothing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pytest
import s3server
from s3server import S3Server

from curate.errors import StorageError
from curate.io import files, patience, ranges, store
from curate.io.store import Store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.running(tmp_path_factory.mktemp("s3") / "log") as found:
        yield found


@pytest.fixture(params=["disk", "s3", "s3, failing", "s3, odd name", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kind = request.param
    if kind == "disk":
        yield Store.at(tmp_path / "folder")
    elif kind == "memory":
        yield Store.at(f"memory://bucket/{tmp_path.name}")
    else:
        server: S3Server = request.getfixturevalue("server")
        server.fail(10 if "failing" in kind else 0)
        yield Store.at(f"s3://bucket/{tmp_path.name}" + ("[1] *" if "odd" in kind else ""))
        server.fail(0)


def test_what_is_written_is_read_wherever_the_folder_is(kept: Store, tmp_path: Path) -> None:
    chance = random.Random(3)
    model: dict[str, bytes] = {}
    local = tmp_path / "local"
    kept.clear()
    for turn in range(40):
        name = chance.choice(["a", "b.txt", "in/c", "in/deep/d", "in/e f"])
        content = chance.randbytes(chance.choice([0, 1, 100, 70_000]))
        act = chance.randrange(6)
        if act == 0:
            kept.write(name, content)
        elif act == 1:
            with kept.writing(name) as path:
                path.write_bytes(content)
        elif act == 2:
            local.write_bytes(content)
            kept.upload(local, name)
        elif act == 3:
            content += b"%d" % turn
            assert kept.create(name, content) == (name not in model)
            content = model.get(name, content)
        elif act == 4:
            kept.remove(name)
            model.pop(name, None)
        elif name in model:
            kept.copy(name, "copied")
            model["copied"] = model[name]
        if act < 4:
            model[name] = content
        assert kept.exists(name) == (name in model)
    assert kept.sizes() == {name: len(content) for name, content in model.items()}
    for name, content in model.items():
        start, stop = sorted(chance.sample(range(80_000), 2))
        assert kept.read(name) == content
        assert kept.read_range(name, start, stop) == content[start:stop]
        with kept.reading(name) as path:
            assert path.read_bytes() == content
        with kept.opened(name) as file:
            file.seek(start)
            assert file.read(stop - start) == content[start:stop]
    kept.remove("in")
    assert all(not name.startswith("in/") for name in kept.sizes())
    kept.remove()
    assert kept.sizes() == {}


def _spoilt(path: Path) -> None:
    (path / "report" if path.is_dir() else path).write_bytes(b"half")
    raise ZeroDivisionError


def test_what_is_not_there_is_told_and_an_error_leaves_nothing(kept: Store) -> None:
    for ask in (kept.read, kept.written_at, lambda name: kept.read_range(name, 0, 9)):
        with pytest.raises(FileNotFoundError):
            ask("nothing")
    with pytest.raises(ZeroDivisionError), kept.writing("half") as path:
        _spoilt(path)
    with pytest.raises(ZeroDivisionError), kept.child("unit").making("report") as folder:
        _spoilt(folder)
    assert kept.sizes() == {}
    kept.remove("nothing")


def test_a_file_that_two_machines_write_at_once_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, fsync = Store.at(tmp_path), os.fsync

    def meanwhile(fd: int) -> None:  # the other machine writes from beginning to end, while this one is at it
        monkeypatch.setattr(os, "fsync", fsync)
        kept.write("some", b"the same")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", meanwhile)
    kept.write("some", b"the same")
    assert kept.read("some") == b"the same"
    assert list(kept.sizes()) == ["some"]


def test_a_folder_appears_whole_and_replaces_what_was_there(kept: Store) -> None:
    for names in ({"report", "old"}, {"report", "new", "in/deeper"}):
        with kept.child("unit").making("report") as folder:
            for name in names:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(name)
        assert kept.child("unit").sizes() == {name: len(name) for name in names}


def test_large_files_go_in_parts_and_come_in_ranges(
    kept: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART", 5 * 2**20)
    monkeypatch.setattr(store, "_FIRST", 2**20)
    content = random.Random(1).randbytes(23 * 2**20 + 17)
    (tmp_path / "large").write_bytes(content)
    kept.upload(tmp_path / "large", "large")
    with kept.reading("large") as path:
        assert path.read_bytes() == content
    with kept.opened("large") as file:
        assert file.size() == len(content)
        file.seek(7 * 2**20)
        assert file.read(2**21) == content[7 * 2**20 : 9 * 2**20]
        assert file.read(3) == content[9 * 2**20 : 9 * 2**20 + 3]


def test_an_input_is_read_in_few_large_requests_and_again_where_one_fails(server: S3Server) -> None:
    table = pa.table({f"c{i}": [f"{i} {row} " + "x" * 50 for row in range(4000)] for i in range(12)})
    sink = pa.BufferOutputStream()
    import pyarrow.parquet as pq

    pq.write_table(table, sink, row_group_size=2000, compression="none")
    content = sink.getvalue().to_pybytes()
    Store("s3://bucket/in").write("t.parquet", content)
    for percent in (0, 50):
        server.fail(percent, seed=1)
        with files.opened_arrow("s3://bucket/in/t.parquet") as file:
            parquet = pq.ParquetFile(file, buffer_size=2**14, pre_buffer=False)
            found = pa.Table.from_batches(parquet.iter_batches(100), schema=parquet.schema_arrow)
        assert found.equals(table)
        if not percent:
            assert server.counts()["GET"] <= -(-len(content) // ranges.BLOCK) + 1
        with files.opened("s3://bucket/in/t.parquet") as plain:
            assert plain.read(100) == content[:100]
            assert plain.seek(-50, 2) == len(content) - 50
            assert plain.read() == content[-50:]
            plain.seek(0)
            assert b"".join(iter(lambda: plain.read(2**16), b"")) == content
    assert server.counts()["failed"] > 0
    server.fail(0)


def test_every_process_sees_what_another_wrote_last(server: S3Server) -> None:
    kept = Store("s3://bucket/seen")
    kept.write("a", b"1")
    assert kept.sizes() == {"a": 1}
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(kept.write, "b", b"22").result()
        assert kept.sizes() == {"a": 1, "b": 2}
        kept.write("a", b"333")
        assert pool.submit(kept.read, "a").result() == b"333"
        assert pool.submit(kept.sizes).result() == {"a": 3, "b": 2}


def test_a_large_file_whose_upload_fails_is_not_there(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART", 5 * 2**20)
    monkeypatch.setattr(patience, "TRIES", 1)
    (tmp_path / "large").write_bytes(bytes(22 * 2**20))
    server.fail(100, only="PUT")
    with pytest.raises(StorageError, match=r"^s3://bucket/mpu/large: the object storage failed 1 times"):
        Store("s3://bucket/mpu").upload(tmp_path / "large", "large")
    server.fail(0)
    assert Store("s3://bucket/mpu").sizes() == {}
    assert s3server.files().list_multipart_uploads("bucket") == []


def test_what_cannot_be_mended_is_said_at_once_and_says_nothing_secret(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fail(0)
    told = []
    for ask in (
        lambda: Store("s3://no-such-bucket/x").write("a", b""),
        lambda: Store("s3://no-such-bucket/x").read("a"),
        lambda: Store("s3://no-such-bucket/x").sizes(),
        lambda: Store("s3://Not_A_Bucket!/x").read("a"),
    ):
        with pytest.raises(StorageError) as caught:
            ask()
        told.append(str(caught.value))
    assert (
        told[0]
        == "s3://no-such-bucket/x/a: there is no bucket 'no-such-bucket'; make it, or correct the address"
    )
    requests = sum(count for name, count in server.counts().items() if name != "failed")
    assert requests <= 8
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(
        StorageError, match=r"there are no credentials for bucket 'bucket' \(NoCredentialsError\); put"
    ):
        Store("s3://bucket/x").read("a")
    fsspec.filesystem("s3").clear_instance_cache()
    assert not any(secret in " ".join(told) for secret in (s3server.KEY, s3server.SECRET, "127.0.0.1"))


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [(503, "SlowDown", True), (500, "InternalError", True), (400, "RequestTimeout", True), (429, "", True),
     (403, "AccessDenied", False), (403, "SignatureDoesNotMatch", False), (400, "ExpiredToken", False),
     (501, "NotImplemented", True), (404, "NoSuchBucket", False)],
)  # fmt: skip
def test_only_what_may_pass_is_asked_again(
    status: int, code: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.0)
    asked = []

    def request() -> None:
        asked.append(1)
        about = {
            "Error": {"Code": code, "Message": s3server.SECRET},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise OSError("quoted " + s3server.SECRET) from ClientError(about, "PutObject")

    with pytest.raises(StorageError) as caught:
        patience.patiently(request, "https://user:pass@host/bucket?X-Amz-Signature=1")
    assert len(asked) == (patience.TRIES if again else 1)
    assert not any(word in str(caught.value) for word in (s3server.SECRET, "pass", "Signature=", "user"))
    assert caught.value.__cause__ is None
