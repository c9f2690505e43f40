"""The block engine: every literal block of the handbook is run, and none can hurt.

Sybil collects and runs; this package is our part.  A file for each question:

===============  ===============================================================
``kinds``        what is a block, by the way in which the page spells it?
``parser``       which blocks does the source of a page have?
``seen``         which does a reader see?
``evaluators``   what has a block of each kind to fulfill?
``page``         what do the blocks of a page share, and which run first?
``session``      a page's own interpreter, seen from our side
``interpreter``  the same from its own side: a program
``console``      a terminal session, in a real shell on a real terminal
``lines``        which lines have run?
``evidence``     what only an old Python can show
``skips``        is a skip a failure here?
===============  ===============================================================

A page goes through them from top to bottom.
"""
