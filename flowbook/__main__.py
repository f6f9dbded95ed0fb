"""``python -m flowbook`` is the ``flowbook`` command."""

from __future__ import annotations

import sys

from flowbook.cli import main

sys.exit(main())
