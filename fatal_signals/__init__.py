"""Fatal Signals: how a Python program dies when it is told to.

The reference modules are installed as :mod:`fatal_signals.reference`, one file for each
pattern but the boss, which is several; ``python -m fatal_signals.reference.boss
FILE.toml`` runs it.  They are made to be copied: take the file, and no dependency on
this package remains.
"""

__version__ = "0.1.0"
