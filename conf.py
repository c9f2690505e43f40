"""Sphinx: how the pages in ``docs/`` become the handbook."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT / part) for part in ("docs/machinery", "reference", "")]

project = "Fatal Signals"
author = "the Fatal Signals authors"
project_copyright = "2026, the Fatal Signals authors"
version = release = "0.1"

extensions = [
    "extensions.bench_tables",
    "extensions.boss_tables",
    "extensions.ledger",
    "extensions.points_tables",
    "extensions.policy_tables",
    "sphinx.ext.intersphinx",
]
nitpicky = True
exclude_patterns = ["machinery", "_templates"]
smartquotes = False

# Links into Python's documentation resolve without a network: `python_inventory.py`
# among the extensions writes the list of the objects that we link to.
INVENTORY = str(ROOT / "docs" / "machinery" / "python.inv")
intersphinx_mapping = {"python": ("https://docs.python.org/3", INVENTORY)}

html_title = "Fatal Signals"
html_favicon = "docs/_static/icon.svg"
html_static_path = ["docs/_static"]
html_css_files = ["handbook.css"]
html_js_files = ["handbook.js"]
templates_path = ["docs/_templates"]
html_copy_source = False
html_show_sphinx = False

# Other people run the pages with sphinx, pytest and sybil alone: the theme and the copy
# button are for the built handbook.
html_theme = "alabaster"
if importlib.util.find_spec("furo"):
    html_theme = "furo"
    pygments_style = "a11y-high-contrast-light"
    pygments_dark_style = "a11y-high-contrast-dark"
if importlib.util.find_spec("sphinx_copybutton"):
    extensions.append("sphinx_copybutton")
    copybutton_exclude = ".linenos, .gp, .go"
