"""What the tools of the command share: mistakes, settings, output, digests.

Standard library only, and nothing else of ours: a tool imports this, never the reverse.
"""
