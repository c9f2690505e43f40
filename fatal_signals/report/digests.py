"""What a piece of code is known by, where evidence names what it was measured on.

By its content and the name of its file, not by its path: a file that moves is the same,
and one that is changed is another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest(content: str | bytes) -> str:
    """Return what a content is known by: 16 hexadecimal digits of its SHA-256."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:16]


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Return the digest of each file, by its name without the folder.

    Raises:
        ValueError: two of them have one name.
    """
    listed = list(files)
    found = {file.name: digest(file.read_bytes()) for file in listed}
    if len(found) < len(listed):
        raise ValueError(f"two files of one name: {', '.join(map(str, listed))}")
    return found
