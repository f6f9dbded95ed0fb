"""The code's commands beside those of a history: each has the key that the history knows it by.

Code that was edited may ask for the same under another key, and is told apart from code that asks for something else.
"""

from __future__ import annotations

from flowbook.core.ids import Key
from flowbook.errors import HistoryMismatch
from flowbook.runtime.replay import OTHER_CODE, SAME_CODE, Asked, Expectations, is_like, mismatch


class Matching:
    """Keys of one run's commands.

    ``renaming``: for each own key of edited code, the history's; None where the code is the history's.
    ``difference``: what the code asked for and the history has not, raised when the code waits. ``other_times``: the
    timers that the code sets for another time now; they stand as they were set. ``advice`` says what to do about one.
    """

    def __init__(self) -> None:
        self.expected = Expectations(())
        self.renaming: dict[Key, Key] | None = None
        self.difference: HistoryMismatch | None = None
        self.other_times: set[Key] = set()
        self.advice = SAME_CODE
        self._met: set[Key] = set()

    def allow_edits(self, advice: str = OTHER_CODE) -> None:
        """The code may be another one than the history's: the same command may have another key (see ``renaming``)."""
        self.renaming, self.advice = {}, advice

    def matched(self, key: Key, asked: Asked) -> Key:
        """The code asks for this: the key that the history has for it, which is ``key`` unless the code was edited."""
        expected = self.expected
        if self.renaming is None and not expected.names:
            known = expected.asked.pop(key, None)
            if known is not None and known != asked:
                self.compare(key, known, asked)
            return key
        own, key = key, expected.names.get(key, key)
        known = expected.asked.pop(key, None)
        if known is not None and not is_like(known, asked) and expected.like("", asked) is not None:
            # Something else has this key in the history, and this has another one.
            expected.asked[key], known = known, None
        if known is None and self.renaming is not None:
            key = expected.like(own.rpartition("/")[0], asked) or key
            known = expected.asked.pop(key, None)
        if known is not None:
            self.compare(key, known, asked)
        while key in self._met:
            key = Key(f"{key}'")
        self._met.add(key)
        if self.renaming is not None and key != own:
            self.renaming[own] = key
        return key

    def compare(self, key: Key, known: Asked, asked: Asked) -> None:
        """Is it the same as recorded? The difference is raised when the code waits: it is not for the code to catch."""
        if self.difference is not None or known == asked or (not known.digest and is_like(known, asked)):
            return
        if known.kind == asked.kind == "timer":
            # It stands as it was set.
            self.other_times.add(key)
            return
        same = (known.kind, known.name) == (asked.kind, asked.name)
        self.difference = mismatch(
            f"the code asked for {asked} with other arguments than recorded"
            if same
            else f"the code asked for {asked} where the history has {known}",
            key,
            recorded=f"{known} {known.digest}".strip(),
            asked=f"{asked} {asked.digest}".strip(),
            advice=self.advice,
        )
