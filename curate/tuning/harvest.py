"""Natural English that every machine has: docstrings of Python's standard library and of installed packages.

Sources are parsed (ast), never imported. What is read, and in what order, depends on the versions of Python and of the
packages alone, so that two machines with the same versions find the same texts.
"""

from __future__ import annotations

import ast
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# These are there wherever the extra `tune` is, and say more in prose than in lists of arguments; in this order.
PACKAGES = ("numpy", "pydantic", "huggingface_hub", "rich", "typer", "fsspec", "duckdb", "peft", "scipy")
_SKIPPED = {"test", "tests", "testing", "site-packages", "dist-packages", "__pycache__", "vendor", "_vendor"}
_PYDOC = "pydoc_data/topics.py"  # the language's reference, which `help` shows: prose
_LEAST, _MOST = 40, 1200  # characters of a paragraph
_PROSE = 0.78  # least share of letters and spaces: below it stand tables, signatures and code
_TABLE = re.compile(r">>>|-{4}|={4}|\*{4}|~{4}|\^{4}")  # doctests, and headings that are underlined
_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``|\*\*([^*]+)\*\*")


class Found(NamedTuple):
    """What one docstring says."""

    name: str  # "mean(a, axis)", or a class's name; "" for a module's
    paragraphs: tuple[str, ...]


def harvest(most: int) -> list[Found]:
    """Return docstrings, of no paragraph twice: the standard library's first, until about ``most`` bytes are had."""
    had, seen, found = 0, set[str](), []
    for path in _sources():
        for name, text in _docstrings(path):
            paragraphs = tuple(p for p in _paragraphs(text) if p not in seen)
            seen.update(paragraphs)
            if paragraphs:
                found.append(Found(name, paragraphs))
                had += sum(len(p.encode()) for p in paragraphs)
        if had >= most:
            break
    return found


def _sources() -> Iterator[Path]:
    roots = sysconfig.get_paths()
    yield from _files(Path(roots["stdlib"]))
    for package in PACKAGES:
        yield from _files(Path(roots["purelib"]) / package)


def _files(root: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(set(inner) - _SKIPPED)
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".py"))


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a source file documents, with its docstring. A file that is no Python yields nothing."""
    with suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # others' invalid escapes
            tree = ast.parse(path.read_bytes())
        if path.as_posix().endswith(_PYDOC):
            yield from (("", value) for node in ast.walk(tree) if len(value := _string(node)) > _LEAST)
        for node in _statements(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
                yield _name(node), ast.get_docstring(node) or ""


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and the statements within it; expressions, of which most of a tree is, hold no docstring."""
    yield node
    for part in ("body", "orelse", "handlers", "finalbody"):
        for inner in getattr(node, part, ()):
            yield from _statements(inner)


def _string(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.ClassDef):
        return node.name
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        given = [argument.arg for argument in node.args.args if argument.arg not in ("self", "cls")]
        return f"{node.name}({', '.join(given[:6])})"
    return ""


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs that are prose, on one line each, without markup."""
    for paragraph in re.split(r"\n\s*\n", text):
        if _TABLE.search(paragraph):
            continue
        line = " ".join(
            _MARKUP.sub(lambda m: next(g for g in m.groups() if g is not None), paragraph).split()
        )
        plain = sum(char.isalpha() or char == " " for char in line)
        if _LEAST <= len(line) <= _MOST and plain >= _PROSE * len(line) and line.isprintable():
            yield line
