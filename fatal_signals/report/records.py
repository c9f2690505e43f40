"""Evidence as JSON that is read by people, too: a head, and a line for each result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def as_json(head: Mapping[str, Any], results: Iterable[Any]) -> str:
    """Return a record as text.

    Args:
        head: what all results have in common: what was measured, and where.
        results: each goes on a line of its own, so that differences are small.
    """
    rows = ",\n  ".join(json.dumps(result) for result in results)
    return f'{{\n {json.dumps(dict(head))[1:-1]},\n "results": [\n  {rows}\n ]\n}}\n'
