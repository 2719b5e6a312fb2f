"""``curate schema``: JSON Schemas (2020-12) of the files that people write, for editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from curate import recipe, source
from curate.errors import RecipeError
from curate.govern.datasheet import answers

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "recipe": recipe.schema,
    "source": source.schema,
    "answers": answers.schema,
}


def schema(of: str = "recipe") -> dict[str, Any]:
    """Return the schema of a recipe, a source manifest or a file of answers. Raises RecipeError for another name."""
    if of not in SCHEMAS:
        raise RecipeError(f"no schema of {of!r}; allowed: {', '.join(SCHEMAS)}; name one of these")
    return SCHEMAS[of]()
