"""Steps for processes of their own: they have to be found by name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from flowbook import display, heartbeat, log, progress, step, step_context


@step(isolate="process")
def apart(x: int) -> Any:
    print("printed")
    display({"a": x})
    progress(1, 2, "half")
    log("a line")
    heartbeat({"at": x})
    context = step_context()
    return [os.getpid(), x, context.attempt, context.run, context.step]


@step(isolate="process")
async def apart_and_async(x: int) -> int:
    return x + 1


@step(isolate="process")
def failing(x: int) -> None:
    here = x * 2
    raise ValueError(f"no {here}")


@step(isolate="process")
def dying(how: str) -> None:
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    os.kill(os.getpid(), signal.SIGKILL)


@step(isolate="process", memory="600MB")
def hungry() -> int:
    return len(bytearray(1 << 30))


@step(isolate="process")
def endless(path: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    finally:
        os.unlink(path)


@step(isolate="process", timeout="700ms")
def too_slow() -> None:
    time.sleep(600)
