"""Processes: start them so that none can outlive us, watch them, end them.

The ground floor of the project: the standard library only, and nothing of ours.

================  ============================================================
``clocks``        how long do we wait?
``linux``         what does Linux have that Python's ``os`` has not?
``procfs``        what does the kernel say of a process?  (all of ``/proc``)
``start``         fork and execute, with default signals, in a session of its own
``below``         all that is below us: look, reap, end
``keeper``        a command under a keeper, seen from whoever started it
``keeping``       the same, seen by the keeper: a program
``forks``         many short-lived children that execute nothing: the second way
``folders``       temporary folders that killed processes do not leave for ever
``interpreters``  which versions of Python are installed?
================  ============================================================
"""
