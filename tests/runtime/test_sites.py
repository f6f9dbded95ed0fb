"""Labels of call sites, as histories hold them. They may never change: not from one version of Python to the next."""

from __future__ import annotations

import asyncio
import linecache
from typing import Any

from flowbook.runtime import sites

SOURCE = '''
async def flow(asked):
    await asked()
    asked.call(
        1,
    )
    (
        asked
        .call(2)
    )
    asked.call(*[3], **{})
    async with asked():
        first = 1
    with asked() as one, asked.call() as two:
        raise ValueError
    async for _ in asked():
        pass
    for _ in asked():
        pass
    [_ async for _ in asked()]
    {_.call(4) for _ in asked()}
    list(_.call(5) for _ in [asked])
    total = asked + (await asked.call(6))
    @asked.decorate
    def inner():
        return [asked.call(7) for _ in (1,)]
    inner()
    (lambda: asked.call(8))()
    f"{asked.call(9)} and {await asked.call(10)}"
    f"""
    {asked.call(11)
    } and
        {asked.call(12)}
    """
    for _ in (1, 2):
        with asked.call(13):
            break
    return asked.call(14)
'''

FOUND = [
    ("call", "4cc3c0"),
    ("await", "8ad926"),
    ("call", "6f3721"),
    ("call", "adb206"),
    ("call", "b82f34"),
    ("call", "016db9"),
    ("aenter", "016db9"),
    ("aexit", "016db9"),
    ("call", "ce16bb"),
    ("enter", "ce16bb"),
    ("exit", "ce16bb"),
    ("call", "b6dcbf"),
    ("aiter", "b6dcbf"),
    ("anext", "b6dcbf"),
    ("call", "13477f"),
    ("iter", "13477f"),
    ("next", "13477f"),
    ("call", "9d2ea6"),
    ("aiter", "9d2ea6"),
    ("anext", "9d2ea6"),
    ("call", "32de3b"),
    ("iter", "32de3b"),
    ("next", "32de3b"),
    ("call", "93f5cf"),
    ("call", "d7dd00"),
    ("call", "a327dc"),
    ("await", "b863e5"),
    ("add", "dfaedb"),
    ("decorate", "006abe"),
    ("call", "1edf12"),
    ("call", "8bbf35"),
    ("call", "de1be6"),
    ("call", "d45bdf"),
    ("await", "ca5efd"),
    ("call", "723fc2"),
    ("call", "6a03b5"),
    ("call", "fa2f0c"),
    ("enter", "fa2f0c"),
    ("exit", "fa2f0c"),
    ("call", "07b7d0"),
]


class Asked:
    """Notes the label of whoever calls it, in whichever way."""

    def __init__(self, labels: list[tuple[str, str]]) -> None:
        self._labels = labels
        self._left = 0

    def _note(self, how: str) -> Asked:
        site = sites.here(3)
        assert site is not None
        self._labels.append((how, site.label))
        return self

    def call(self, *args: Any, **options: Any) -> Asked:
        return self._note("call")

    def __call__(self) -> Asked:
        self._left = 1
        return self._note("call")

    def decorate(self, function: Any) -> Any:
        self._note("decorate")
        return function

    def __add__(self, other: object) -> Asked:
        return self._note("add")

    def __await__(self) -> Any:
        self._note("await")
        return iter(())

    def __enter__(self) -> Asked:
        return self._note("enter")

    def __exit__(self, *error: object) -> bool:
        self._note("exit")
        return True

    async def __aenter__(self) -> Asked:
        return self._note("aenter")

    async def __aexit__(self, *error: object) -> bool:
        self._note("aexit")
        return True

    def __aiter__(self) -> Asked:
        return self._note("aiter")

    async def __anext__(self) -> Asked:
        self._note("anext")
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return self

    def __iter__(self) -> Asked:
        return self._note("iter")

    def __next__(self) -> Asked:
        self._note("next")
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self


def test_labels_are_those_of_every_version() -> None:
    labels: list[tuple[str, str]] = []
    file = "/somewhere/flow.py"
    namespace: dict[str, Any] = {}
    linecache.cache[file] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), file)
    exec(compile(SOURCE, file, "exec"), namespace)
    asyncio.run(namespace["flow"](Asked(labels)))
    # How often something is asked for its next one is another matter in some version.
    assert list(dict.fromkeys(labels)) == FOUND
