"""A workflow defined in notebook cells becomes a module of just what it needs."""

from __future__ import annotations

import pytest

from flowbook.api.live import gather
from flowbook.errors import UserError

CELLS = [
    "",
    "import math\nimport json\nfrom flowbook import step, workflow",
    "factor = 2\nunused = open",
    "def twice(x):\n    return x * factor",
    "@step\ndef grow(x):\n    return twice(math.floor(x))",
    "this is no python",
    "@workflow\nasync def flow(x=1):\n    return await grow(x)\n\nrun = flow.start()",
    "factor = 3",
]


def test_only_what_is_needed_in_the_order_it_was_run() -> None:
    text = gather("flow", CELLS)
    assert text.split("\n\n") == [
        "import math",
        "from flowbook import step, workflow",
        "def twice(x):\n    return x * factor",
        "@step\ndef grow(x):\n    return twice(math.floor(x))",
        "@workflow\nasync def flow(x=1):\n    return await grow(x)",
        "factor = 3\n",
    ]


def test_the_newest_definition_counts() -> None:
    newer = [*CELLS, "@workflow\nasync def flow(x=2):\n    return x"]
    assert "x=2" in gather("flow", newer) and "grow" not in gather("flow", newer)


def test_a_name_nobody_defined_is_said() -> None:
    with pytest.raises(UserError, match="no cell that was run defines 'nope'"):
        gather("nope", CELLS)
