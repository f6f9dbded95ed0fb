"""Distinct names for the strings and numbers that identify things. They are made elsewhere."""

from __future__ import annotations

from typing import NewType

RunId = NewType("RunId", str)
"""Chosen by the caller or drawn by the client; unique within a project."""

Key = NewType("Key", str)
"""Identity of one command within a run: task path, call site, nth visit (see ``core.keys``)."""

Digest = NewType("Digest", str)
"""Hex BLAKE2b of some content."""

Seq = NewType("Seq", int)
"""Position of an event in its run's history, counted from 1."""

WorkerId = NewType("WorkerId", str)
CellId = NewType("CellId", str)
