"""For all tests: laws are about what holds, not about how long it takes."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("flowbook", deadline=None)
settings.load_profile("flowbook")
