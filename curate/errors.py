"""Everything that can go wrong, as one tree.

::

    CurateError                 exit code
    ├── RecipeError      2      the recipe or the command line is wrong; lists every problem found
    │   └── MissingExtra 2      a library that an optional feature needs is not installed
    ├── InputError       3      an input file cannot be read
    ├── StageError       1      a stage broke its contract (a defect, never the data's fault)
    ├── StorageError     1      disk or object storage gave out; what is finished is kept
    └── IntegrityError   1      a release does not hold what its manifest says

A bad *record* is no error: it goes to quarantine with a reason. Messages name files, lines, keys and
ids; they never hold record text.
"""

from __future__ import annotations

from collections.abc import Sequence


class CurateError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class RecipeError(CurateError):
    """The recipe or the command line cannot be carried out as written."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)  # travels between processes with its list whole


class MissingExtra(RecipeError):
    """An optional library is missing; the message holds the pip line that brings it."""

    @classmethod
    def of(cls, feature: str, extra: str) -> MissingExtra:
        """Name the feature and the extra: ``MissingExtra.of("files on s3://", "s3")``."""
        return cls(f"{feature} need an extra that is not installed: pip install 'curate[{extra}]'")


class InputError(CurateError):
    """An input file cannot be read; nothing has been written."""

    exit_code = 3


class StageError(CurateError):
    """A stage broke its contract, for example by dropping a record without a reason."""


class StorageError(CurateError):
    """Disk or object storage gave out. What is finished is kept: the same command goes on from there."""


class IntegrityError(CurateError):
    """A release folder is incomplete or differs from its manifest."""
