"""What the engine is told in one breath: messages for one run, and who is to hear what became of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from flowbook.core.chains import Address
from flowbook.core.ids import Key, RunId
from flowbook.core.messages import AnyMessage
from flowbook.engine.links import WorkerLink
from flowbook.engine.runs import LiveRun
from flowbook.errors import FlowbookError

Answer = Callable[[LiveRun | None, FlowbookError | None], None]


class Told:
    """Messages for one run, and who said them: a worker (``link``, ``lease``, ``number``), another run (``sender``

    and the key that is to be answered), or somebody to answer.

    ``asked`` and ``to`` say whom they are for; ``run`` is who that is, found out when their turn comes. They have an
    ``effect`` where something happened to it. They are left out where ``check`` is false when their turn comes;
    ``after`` is called once the turn is durable. They wait for another turn until the run ``until`` has ended, or can
    be looked at.
    """

    __slots__ = (
        *("after", "answer", "asked", "check", "effect", "error", "lease", "link", "messages", "number"),
        *("run", "sender", "to", "until"),
    )

    def __init__(
        self, run: RunId, messages: Sequence[AnyMessage], answer: Answer | None = None, to: Address = "run"
    ) -> None:
        self.asked = run
        self.to = to
        self.run = run
        self.messages = messages
        self.answer = answer
        self.effect = False
        self.until: RunId | None = None
        self.error: FlowbookError | None = None
        self.link: WorkerLink | None = None
        self.lease = ""
        self.number = 0
        self.sender: tuple[RunId, Key] | None = None
        self.check: Callable[[], bool] | None = None
        self.after: Callable[[], None] | None = None


def last_line(fault: Exception) -> str:
    """The end of its traceback, for people."""
    return traceback.format_exception_only(fault)[-1].strip()
