"""What the pages of a release share: how templates are read, and their style."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "page.html.jinja"
_STYLE = Path(__file__).parent / "style.css"


@functools.cache
def environment(folder: Path) -> Environment:
    """Return the environment of a folder's templates: all that comes from data is escaped, nothing may be missing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(folder)
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def css(folder: Path) -> Markup:
    """Return the style that pages share, and a folder's own."""
    return Markup(_STYLE.read_text() + (folder / "page.css").read_text())
