"""The block engine: every literal block of the handbook is run, and none can hurt.

Sybil collects and runs; this package is our part.  A file for each question:

====================  =========================================================
``clocks``            how long do we wait?
``keeper``            how does a process of ours end, whatever it does?
====================  =========================================================
"""
