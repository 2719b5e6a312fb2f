"""``python -m curate`` is the ``curate`` command."""

from __future__ import annotations

from curate.cli import entry

entry()
