"""The file layer: which files a pattern names, and how their bytes and lines are reached."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import MissingExtra
from curate.io import files, layouts, lines
from curate.source import Source

TREE = (
    "a.jsonl",
    "b.jsonl",
    ".hidden.jsonl",
    "deep/c.jsonl",
    "deep/er/d.jsonl",
    "deep/.cache/e.jsonl",
    "we[1]ird.jsonl",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")
    (tmp_path / "beside.jsonl").write_text("{}\n")
    return folder


def paths(folder: Path, *patterns: str) -> list[str]:
    found, problems = files.expand(Source(name="s", files=patterns), folder)
    assert not problems
    return [file.path for file in found]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a.jsonl"], ["a.jsonl"]),
        (["*.jsonl"], ["a.jsonl", "b.jsonl", "we[1]ird.jsonl"]),
        (["[ab].jsonl"], ["a.jsonl", "b.jsonl"]),
        (["we[1]ird.jsonl"], ["we[1]ird.jsonl"]),
        (["**/*.jsonl"], ["a.jsonl", "b.jsonl", "deep/c.jsonl", "deep/er/d.jsonl", "we[1]ird.jsonl"]),
        (["deep/**/*.jsonl"], ["deep/c.jsonl", "deep/er/d.jsonl"]),
        (["deep/*"], ["deep/c.jsonl"]),
        (["deep/.cache/*.jsonl"], ["deep/.cache/e.jsonl"]),
        ([".*.jsonl"], [".hidden.jsonl"]),
        (["../*.jsonl"], ["../beside.jsonl"]),
        (["./deep/../a.jsonl", "a.jsonl", "a*"], ["a.jsonl"]),
    ],
)
def test_patterns_name_files_relative_to_the_recipe(
    tree: Path, patterns: list[str], expected: list[str]
) -> None:
    assert paths(tree, *patterns) == expected


def test_a_full_path_inside_the_recipes_folder_is_shown_relative_and_outside_as_given(tree: Path) -> None:
    assert paths(tree, str(tree / "deep" / "c.jsonl")) == ["deep/c.jsonl"]
    assert paths(tree, f"file://{tree}/deep/c.jsonl") == ["deep/c.jsonl"]
    outside = tree.parent / "beside.jsonl"
    assert paths(tree, str(outside)) == [outside.as_posix()]


def test_a_pattern_without_files_says_what_is_there(tree: Path) -> None:
    (tree / "link.jsonl").symlink_to("nowhere")
    (tree / "void").mkdir()
    patterns = ("deep", "deep/*.csv", "link.jsonl", "none/x.jsonl", "void/*")
    _, problems = files.expand(Source(name="s", files=patterns), tree)
    advice = "correct the pattern, which is relative to the recipe's folder"
    assert problems == [
        "source 's': 'deep' is a folder; expected files; write 'deep/**/*.jsonl'",
        f"source 's': nothing matches 'deep/*.csv'; {tree}/deep has c.jsonl, er/; {advice}",
        "source 's': link.jsonl: neither a file nor a folder (a broken link, or a pipe); expected a file; "
        "mend it",
        f"source 's': nothing matches 'none/x.jsonl'; {tree} has a.jsonl, b.jsonl, deep/, link.jsonl, void/, "
        f"we[1]ird.jsonl; {advice}",
        f"source 's': nothing matches 'void/*'; {tree}/void is empty; {advice}",
    ]


def test_urls_are_listed_through_fsspec_and_shown_as_urls(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("x.jsonl", "y.jsonl", "sub/z.jsonl", ".w.jsonl"):
        memory.pipe(f"/curate-files/{name}", b"{}\n")
    assert paths(tmp_path, "memory://curate-files/*.jsonl") == [
        "memory://curate-files/x.jsonl",
        "memory://curate-files/y.jsonl",
    ]
    found, _ = files.expand(Source(name="s", files=("memory://curate-files/**/z.jsonl",)), tmp_path)
    assert [file.path for file in found] == ["memory://curate-files/sub/z.jsonl"]
    with files.opened(found[0].location) as file:
        assert file.read() == b"{}\n"
    assert files.size(found[0].location) == 3
    _, problems = files.expand(Source(name="s", files=("memory://curate-files/*.csv",)), tmp_path)
    assert problems[0].startswith(
        "source 's': nothing matches 'memory://curate-files/*.csv'; nothing like it"
    )


def test_two_colons_in_a_local_path_are_a_name_and_no_chain_of_storages(tmp_path: Path) -> None:
    folder = tmp_path / "simplecache::re" / "memory::cipe"
    for name in ("co::x.jsonl", "a::b/y.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")
    for pattern, path in [
        ("co::x.jsonl", "co::x.jsonl"),
        ("*.jsonl", "co::x.jsonl"),
        ("a::b/*", "a::b/y.jsonl"),
        (f"file://{folder}/a::b/y.jsonl", "a::b/y.jsonl"),
        (f"{folder}/co::x.jsonl", "co::x.jsonl"),
    ]:
        found, problems = files.expand(Source(name="s", files=(pattern,)), folder)
        assert ([file.path for file in found], problems) == ([path], [])
        assert files.size(found[0].location) == 3
        with files.opened(found[0].location) as file:
            assert file.read() == b"{}\n"


def test_names_that_are_not_utf8_are_shown_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_text("{}\n")
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    (tmp_path / os.fsdecode(b"d\xff")).mkdir()
    (tmp_path / os.fsdecode(b"d\xff") / "x.jsonl").write_text("{}\n")
    (tmp_path / os.fsdecode(b"l\xff.txt")).symlink_to("nowhere")
    (tmp_path / "good.jsonl").write_text("{}\n")
    found, problems = files.expand(Source(name="s", files=("*.jsonl", "*/x.jsonl", "*.txt", "no")), tmp_path)
    assert [file.path for file in found] == ["good.jsonl"]
    advice = "the name is not UTF-8; expected a path in UTF-8; rename it"
    assert problems == [
        f"caf\\xe9.jsonl: {advice}",
        f"d\\xff/x.jsonl: {advice}",
        "source 's': l\\xff.txt: neither a file nor a folder (a broken link, or a pipe); expected a file; mend it",
        f"source 's': nothing matches 'no'; {tmp_path} has caf\\xe9.jsonl, d\\xff/, good.jsonl, l\\xff.txt; correct "
        "the pattern, which is relative to the recipe's folder",
    ]
    _, problems = files.expand(Source(name="s", files=("x.jsonl",)), tmp_path / os.fsdecode(b"d\xff"))
    assert problems == [f"{tmp_path}/d\\xff/x.jsonl: {advice}"]


@pytest.mark.parametrize(("url", "extra"), [("s3://bucket/*.jsonl", "s3"), ("gs://bucket/x.jsonl", "gcs")])
def test_a_storage_without_its_library_names_the_extra(
    tmp_path: Path, url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install it")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingExtra) as caught:
        files.expand(Source(name="s", files=(url,)), tmp_path)
    scheme = url.partition("://")[0]
    expected = f"files on {scheme}:// need an extra that is not installed: pip install 'curate[{extra}]'"
    assert str(caught.value) == expected


def test_an_unknown_storage_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    _, problems = files.expand(Source(name="s", files=("ftq://host/x.jsonl",)), tmp_path)
    assert problems == [
        "source 's': 'ftq://host/x.jsonl' cannot be listed (no storage of this kind is known); check the "
        "address, the network and the credentials"
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/a.jsonl", "s3://bucket/a.jsonl"),
        ("https://user:pass@host/a.jsonl?X-Signature=abc#part", "https://host/a.jsonl"),
        ("simplecache::https://u:p@host/a.jsonl?sig=1", "simplecache::https://host/a.jsonl"),
        ("hf://datasets/user/name@main/a#b.jsonl", "hf://datasets/user/name@main/a#b.jsonl"),
    ],
)
def test_credentials_are_never_shown(url: str, shown: str) -> None:
    assert files.public(url) == shown
    assert "secret" not in repr(files.Found("s", shown, url))


def test_a_storage_librarys_own_words_are_not_repeated() -> None:
    assert files.why(RuntimeError("token=secret")) == "RuntimeError"
    assert files.why(PermissionError(13, "secret")) == "permission denied"
    assert files.why(FileNotFoundError("secret")) == "no such file"
    assert files.why(OSError(5, "secret")) == "input/output error"


@pytest.mark.parametrize(
    ("path", "layout", "compression", "stem"),
    [
        ("a/b.jsonl", "jsonl", None, "b"),
        ("b.JSONL.GZ", "jsonl", "gzip", "b"),
        ("b.v1.ndjson.zst", "jsonl", "zstd", "b.v1"),
        ("b.json", "jsonl", None, "b"),
        ("b.parquet", "parquet", None, "b"),
        ("b.feather", "arrow", None, "b"),
        ("b.ipc", "arrow", None, "b"),
        ("b.tsv.gz", "csv", "gzip", "b"),
    ],
)
def test_a_name_tells_the_layout(path: str, layout: str, compression: str | None, stem: str) -> None:
    assert layouts.layout_of(path) == (layout, compression)
    assert layouts.stem(path) == stem


SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"


def unpacked(
    path: Path, compression: layouts.Compression | None, start: int = 0, stop: int | None = None
) -> bytes:
    return b"".join(lines.blocks(str(path), compression, start, stop, size=1000))


def test_compressed_files_of_several_parts_are_read_to_their_end(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(40_000)
    cases: dict[str, tuple[layouts.Compression, bytes]] = {
        "members": ("gzip", gzip.compress(data[:9000]) + gzip.compress(data[9000:])),
        "padded": ("gzip", gzip.compress(data) + bytes(512)),
        "frames": ("zstd", zstandard.compress(data[:9000]) + zstandard.compress(data[9000:])),
        "skippable": ("zstd", SKIPPABLE + zstandard.compress(data) + SKIPPABLE),
    }
    for name, (compression, packed) in cases.items():
        path = tmp_path / name
        path.write_bytes(packed)
        assert unpacked(path, compression) == data, name
        assert unpacked(path, compression, 8_500, 9_700) == data[8_500:9_700], name


def test_long_zstd_windows_are_read(tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressionParameters.from_level(1, window_log=30, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    path = tmp_path / "long"
    path.write_bytes(packer.compress(b"abc\n" * 1000) + packer.flush())
    assert zstandard.get_frame_parameters(path.read_bytes()).window_size == 2**30
    assert unpacked(path, "zstd") == b"abc\n" * 1000


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.1])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_truncated_stream_is_noticed(tmp_path: Path, compression: layouts.Compression, keep: float) -> None:
    data = random.Random(1).randbytes(40_000)
    packed = gzip.compress(data) if compression == "gzip" else zstandard.compress(data)
    path = tmp_path / "cut"
    path.write_bytes(packed[: int(len(packed) * keep)])
    with pytest.raises(lines.BrokenStream, match="ends too soon"):
        unpacked(path, compression)


@given(
    st.lists(st.sampled_from([b"", b"a", b"bcd", b"efgh\r", b"0123456789", b"\xff" * 25])),
    st.booleans(),
    st.integers(1, 12),
)
def test_lines_do_not_depend_on_how_the_bytes_come(texts: list[bytes], ended: bool, size: int) -> None:
    data = b"\n".join(texts) + b"\n" * ended
    expected = [text if len(text) <= 20 else None for text in data.split(b"\n")]
    if expected[-1] == b"":
        expected.pop()  # what follows the last newline is no line
    groups = list(lines.split([data[i : i + size] for i in range(0, len(data), size)], 20))
    assert [line for group in groups for line in group.lines] == expected
    assert not groups or groups[-1].end == len(data)
    for group in groups[:-1]:
        assert data[: group.end].endswith(b"\n")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_taken_off_at_the_start_only(size: int) -> None:
    data = b"\xef\xbb\xbfab\n\xef\xbb\xbfcd"
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert [line for group in lines.split(pieces, 20) for line in group.lines] == [b"ab", b"\xef\xbb\xbfcd"]
    moved = [line for group in lines.split(pieces, 20, start=5) for line in group.lines]
    assert moved == data.split(b"\n")


def test_a_line_over_the_limit_is_not_held(tmp_path: Path) -> None:
    groups = list(lines.split((b"x" * 1000 for _ in range(50_000)), limit=10_000))
    assert groups == [lines.Lines([None], 50_000_000)]
