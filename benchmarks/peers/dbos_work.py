"""DBOS on SQLite in WAL mode, synchronous=FULL: ``python dbos_work.py FOLDER``."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from typing import Any

from dbos import DBOS, SetWorkflowID
from harness import measure

FILE = os.path.join(sys.argv[1], "dbos.sqlite")
sqlite3.connect(FILE).execute("pragma journal_mode=wal").close()
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{FILE}", "log_level": "ERROR"})


@DBOS.step()
async def nothing(x: int) -> int:
    return x


@DBOS.workflow()
async def sequence(steps: int) -> int:
    for number in range(steps):
        await nothing(number)
    return steps


@DBOS.workflow()
async def parallel(steps: int) -> int:
    return len(await asyncio.gather(*(nothing(number) for number in range(steps))))


async def main() -> None:
    DBOS.launch()

    async def one(id: str, steps: int) -> Any:
        with SetWorkflowID(id):
            return await sequence(steps)

    async def fan(id: str, steps: int) -> Any:
        with SetWorkflowID(id):
            return await parallel(steps)

    await measure(one, fan)
    DBOS.destroy()


asyncio.run(main())
