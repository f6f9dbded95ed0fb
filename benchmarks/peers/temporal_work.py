"""Temporal's dev server on a SQLite file, local activities: ``python temporal_work.py FOLDER``.

The dev server is what people run on one machine; it is not production Temporal.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from datetime import timedelta
from typing import Any

from harness import measure
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

LIMIT = timedelta(seconds=60)


@activity.defn
async def nothing(x: int) -> int:
    return x


@workflow.defn
class Sequence:
    @workflow.run
    async def run(self, steps: int) -> int:
        for number in range(steps):
            await workflow.execute_local_activity(nothing, number, start_to_close_timeout=LIMIT)
        return steps


@workflow.defn
class Parallel:
    @workflow.run
    async def run(self, steps: int) -> int:
        calls = [
            workflow.execute_local_activity(nothing, number, start_to_close_timeout=LIMIT) for number in range(steps)
        ]
        return len(await asyncio.gather(*calls))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def connected(port: int) -> Client:
    for _ in range(100):
        try:
            return await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            await asyncio.sleep(0.2)
    raise RuntimeError("the server did not start")


async def main() -> None:
    port = free_port()
    server = subprocess.Popen(
        [
            os.path.join(os.path.dirname(sys.executable), "temporal"),
            *("server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)),
            *("--db-filename", os.path.join(sys.argv[1], "temporal.sqlite"), "--log-level", "error"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = await connected(port)
        worker = Worker(
            client,
            task_queue="bench",
            workflows=[Sequence, Parallel],
            activities=[nothing],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_local_activities=1000,
        )

        async def one(id: str, steps: int) -> Any:
            return await client.execute_workflow(Sequence.run, steps, id=id, task_queue="bench")

        async def fan(id: str, steps: int) -> Any:
            return await client.execute_workflow(Parallel.run, steps, id=id, task_queue="bench")

        async with worker:
            await measure(one, fan, runs=100)
    finally:
        server.terminate()
        server.wait()


asyncio.run(main())
