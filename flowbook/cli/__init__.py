"""The ``flowbook`` command: parse, call the API, print. What it prints with ``--json`` and its exit codes are stable.

0: it worked, or the run succeeded. 1: the run did not succeed. 2: something the user can mend, said on stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flowbook.cli.parser import parse
from flowbook.errors import FlowbookError

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = parse(argv)
    try:
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except FlowbookError as error:
        from flowbook.cli import shapes

        shapes.complain(error, json=getattr(options, "json", False))
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
