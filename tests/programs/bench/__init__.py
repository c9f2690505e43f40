"""The boss beside its peers and beside C: ``make bench``.

``peers`` says how each is told what to run, ``processes`` starts and watches one from
outside, ``measures``, ``manners`` and ``storms`` are what is done with them, ``book``
has what came of it, and ``report`` shows it.
"""
