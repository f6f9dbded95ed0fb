"""The workflows that are measured. No-op steps: what is left is Flowbook's own cost."""

from __future__ import annotations

from flowbook import step, workflow


@step
def nothing(x: int) -> int:
    return x


@workflow
async def sequence(steps: int = 1000) -> int:
    for number in range(steps):
        await nothing(number)
    return steps


@workflow
async def single(x: int = 0) -> int:
    return int(await nothing(x))
