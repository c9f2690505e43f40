"""Record every transcript that a page includes: ``make evidence``, in ``docs/``."""

from pathlib import Path

from sybil import Document

from . import evidence
from .kinds import Kind
from .page import Page
from .parser import parse

for path in sorted(Path.cwd().glob("**/*.rst")):
    document = Document.parse(str(path), parse)
    page = Page(path, document.namespace["blocks"])
    try:
        for block in page.blocks:
            if block.kind == Kind.INCLUDED and block.text.endswith(".console"):
                print(f"recording {block.text}", flush=True)
                evidence.record(page, path.parent / block.text)
    finally:
        page.close()
