"""Restate's server (RocksDB, synced log), its Python SDK behind hypercorn: ``python restate_work.py FOLDER SERVER``."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import restate
from harness import measure
from hypercorn.asyncio import serve
from hypercorn.config import Config

service = restate.Service("bench")


@service.handler()
async def sequence(ctx: restate.Context, steps: int) -> int:
    for number in range(steps):
        await ctx.run_typed("nothing", nothing, x=number)
    return steps


@service.handler()
async def parallel(ctx: restate.Context, steps: int) -> int:
    done = await restate.gather(*[ctx.run_typed("nothing", nothing, x=number) for number in range(steps)])
    return len(done)


async def nothing(x: int) -> int:
    return x


app = restate.app([service])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read() or b"null")


async def main() -> None:
    ingress, admin, node, own = (free_port() for _ in range(4))
    environment = {
        **os.environ,
        "RESTATE_BASE_DIR": sys.argv[1],
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_LOG_FILTER": "error",
        "RESTATE_DISABLE_TELEMETRY": "true",
    }
    server = subprocess.Popen([sys.argv[2]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    config = Config()
    config.bind = [f"127.0.0.1:{own}"]
    config.loglevel = "error"
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    threads = ThreadPoolExecutor(100)
    loop = asyncio.get_running_loop()

    async def call(url: str, body: Any) -> Any:
        return await loop.run_in_executor(threads, post, url, body)

    try:
        for _ in range(150):
            try:
                await call(f"http://127.0.0.1:{admin}/deployments", {"uri": f"http://127.0.0.1:{own}"})
                break
            except (urllib.error.URLError, ConnectionError):
                await asyncio.sleep(0.2)

        async def one(id: str, steps: int) -> Any:
            return await call(f"http://127.0.0.1:{ingress}/bench/sequence", steps)

        async def fan(id: str, steps: int) -> Any:
            return await call(f"http://127.0.0.1:{ingress}/bench/parallel", steps)

        await measure(one, fan)
    finally:
        stop.set()
        await serving
        server.terminate()
        server.wait()


asyncio.run(main())
