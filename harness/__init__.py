"""Batch load and replay harness for LivePerson's getEngagement.

Importing this package has no side effect: no socket, no file, no monkey-patching.
"""

__version__ = "0.1.0"
