"""The ``flowbook`` command: parse, call the API, print. What it prints with ``--json`` and its exit codes are stable.

0: it worked, or the run succeeded. 1: the run did not succeed. 2: something the user can mend, said on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from flowbook.cli import terminal
from flowbook.cli.helping import Mistake
from flowbook.cli.parser import parse
from flowbook.errors import FlowbookError, UserError

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    typed = sys.argv[1:] if argv is None else argv
    terminal.make_ready()
    try:
        return _run(typed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough.
        terminal.let_go()
        return 0
    except OSError as error:
        if not terminal.cannot_write(error):
            raise
        return MISTAKE


def _run(typed: Sequence[str]) -> int:
    json = "--json" in typed
    try:
        _require_text(typed)
        options = parse(typed)
        json = getattr(options, "json", False)
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except Mistake as error:
        _complain(UserError(str(error)), json, f"{error.usage}{error.program}: error: {error}")
        sys.exit(MISTAKE)
    except FlowbookError as error:
        _complain(error, json)
        return MISTAKE


def _complain(error: FlowbookError, json: bool, text: str = "") -> None:
    from flowbook.cli import shapes

    shapes.complain(error, json, text)


def _require_text(typed: Sequence[str]) -> None:
    for number, word in enumerate(typed, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"word {number} of the command line ({word!r}) is no UTF-8 text. Write it in UTF-8; LANG=C.UTF-8 helps "
                "where the terminal uses another encoding."
            ) from None
