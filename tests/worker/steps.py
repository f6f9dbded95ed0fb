"""Steps for processes of their own: they have to be found by name."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flowbook import display, heartbeat, log, progress, step, step_context, uninterrupted


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
def where() -> str:
    return os.getcwd()


@step(isolate="process")
def known_apart() -> str:
    return step_context().idempotency_key


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


@step(isolate="process")
def shows_in_order() -> str:
    print("one")
    subprocess.run(["echo", "two"], check=True)
    os.write(1, b"three\n")
    display("four")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(print, "five").result()
        pool.submit(log, "six").result()
    print("seven", b"\xff".decode(errors="surrogateescape"))
    print("eight", file=sys.stderr)
    return sys.stdin.read() + subprocess.run(["cat"], capture_output=True, text=True, check=True).stdout


@step(isolate="process")
def leaves_a_program(path: str) -> None:
    note(path, subprocess.Popen(["sleep", "600"]).pid)


@step(isolate="process")
def crashes_with_a_fork(path: str) -> None:
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    note(path, child)
    os.kill(os.getpid(), signal.SIGSEGV)


@step(isolate="process", timeout="5s")
def ends_slowly() -> int:
    atexit.register(print, "at exit")
    threading.Thread(target=time.sleep, args=(600,), name="lingers").start()
    return 1


@step(isolate="process", timeout="1500ms")
def ends_later_than_it_may() -> int:
    atexit.register(time.sleep, 1.9)
    return 1


@step(isolate="process", timeout="1500ms")
def hangs() -> None:
    turn = 1
    while True:
        time.sleep(0.001 * turn)


@step(isolate="process", timeout="1500ms")
async def hangs_and_is_async() -> None:
    await asyncio.sleep(600)


@step(isolate="process")
def sees_that_it_is_cancelled(path: str) -> None:
    note(path, os.getpid())
    try:
        time.sleep(600)
    finally:
        note(path, step_context().cancelled)


@step(isolate="process")
def finishes_a_part(path: str) -> None:
    with uninterrupted():
        note(path, os.getpid())
        time.sleep(1.0)
        note(path, "finished")
    note(path, "went on")


@step(isolate="process", memory="50MB")
def too_little_memory() -> None:
    pass


@step(isolate="process")
def gives_a_lock() -> Any:
    return threading.Lock()


@step(isolate="process")
def leaves_a_lock() -> None:
    heartbeat(threading.Lock())


@step(isolate="process", heartbeat_timeout="700ms", auto_heartbeat=True)
def quiet() -> int:
    time.sleep(2.0)
    return 1


@step(isolate="process", heartbeat_timeout="700ms", auto_heartbeat=True)
def frozen() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@step(isolate="process")
def says_why_it_dies() -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


@step(isolate="process")
def talks_for_long(lines: int) -> int:
    for number in range(lines):
        print(f"line {number:06}", "x" * 80)
        if number % 100 == 0:
            display({"number": number})
    return lines


def note(path: str, what: Any) -> None:
    with open(path, "a") as file:
        file.write(f"{what}\n")
