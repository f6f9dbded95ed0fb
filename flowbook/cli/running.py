"""``run``, ``watch`` and ``fork``: start something, or not, and follow it to its end."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowbook.api.connection import Connection, connect
from flowbook.api.started import POLL, Run
from flowbook.cli import shapes, steps, terminal
from flowbook.core.chains import following
from flowbook.core.ids import RunId
from flowbook.core.printable import printable
from flowbook.errors import FlowbookError

if TYPE_CHECKING:
    from flowbook.api.options import Options
    from flowbook.wire.calls import Summary

SUCCEEDED, FAILED, DETACHED = 0, 1, 130


def run(options: Namespace) -> int:
    """``flowbook run``."""
    from flowbook.api.arguments import from_texts, read_params
    from flowbook.api.source import load
    from flowbook.api.starting import start

    texts = read_params(options.param)
    module, workflow = load(options.file)
    arguments = from_texts(module, workflow, texts)
    connection = connect()
    started = start(connection, module, workflow, arguments, options=_options(options))
    return _follow(started, connection, options)


def _options(options: Namespace) -> Options:
    from flowbook.api.arguments import read_labels
    from flowbook.api.options import Options
    from flowbook.runtime.readings import read

    name, equals, value = options.signal.partition("=")
    return Options(
        id=options.id,
        timeout=options.timeout,
        on_conflict=options.on_conflict,
        on_closed=options.on_closed,
        signal=(name, read(value) if equals else None) if name else None,
        attributes={name: read(text) for name, text in read_labels(options.attribute).items()},
    )


def watch(options: Namespace) -> int:
    """``flowbook watch``."""
    connection = connect()
    return _follow(connection.client.run(options.run), connection, options)


def fork(options: Namespace) -> int:
    """``flowbook fork``."""
    connection = connect()
    fork = Run(options.run, connection).fork
    planned = fork.plan(at=options.at, step=options.step, source=options.file)
    if options.plan:
        if options.json:
            shapes.emit({"run": options.run, **msgspec.to_builtins(planned.inner)})
        else:
            print(planned)
        return SUCCEEDED
    if not options.json:
        print(f"{planned}\n")
    return _follow(fork.launch(planned, id=options.id), connection, options)


def _follow(summary: Summary, connection: Connection, options: Namespace) -> int:
    run = summary["id"]
    if getattr(options, "detach", False):
        if options.json:
            shapes.emit(shapes.run(summary, connection))
        else:
            print(f"{run} {summary['status']} in the background\n\n{_later(run)}")
        return SUCCEEDED
    try:
        if options.json:
            summary = _wait(run, connection)
        else:
            _draw(run, connection)
            while (summary := connection.client.run(run))["status"] == "continued":
                if connection.client.wait(run, 0.0)["id"] == run:
                    # It was imported, and the one that goes on from it was not.
                    break
                run = following(RunId(run))
                print(f"\nit goes on as {run}")
                _draw(run, connection)
    except KeyboardInterrupt:
        return _detach(run, connection, options)
    if options.json:
        shapes.emit(shapes.run(summary, connection))
    else:
        print(f"\n{ending(summary, connection)}")
    return SUCCEEDED if summary["status"] == "succeeded" else FAILED


def _wait(run: str, connection: Connection) -> Summary:
    while (summary := connection.client.wait(run, POLL))["status"] in ("running", "waiting", "queued"):
        pass
    return summary


def _detach(run: str, connection: Connection, options: Namespace) -> int:
    text = f"the run goes on without you\n\n{_later(run)}"
    if options.json:
        print(text, file=sys.stderr)
        shapes.emit(shapes.run(connection.client.run(run), connection))
    else:
        print(f"\n{text}")
    return DETACHED


def _later(run: str) -> str:
    return f"follow it   {terminal.typed('watch', run)}\nstop it     {terminal.typed('cancel', run)}"


def _draw(run: str, connection: Connection) -> None:
    if not terminal.is_live(sys.stdout):
        _log(run, connection)
        return
    colour = terminal.has_colour(sys.stdout)
    print(f"{run}  (Ctrl-C stops following, not the run)\n")
    with terminal.Block() as block:
        for frame, view in enumerate(_pictures(run, connection)):
            width, height = terminal.size()
            room = max(3, height - 6)
            still = view["status"] not in ("running", "waiting", "queued")
            picture = steps.lines(
                view, terminal.now(), width=width, height=room, colour=colour, frame=-1 if still else frame
            )
            block.draw(picture)


def _log(run: str, connection: Connection) -> None:
    print(run, flush=True)
    log = steps.Log()
    for view in Run(run, connection).watch():
        for line in log.lines(view, terminal.now()):
            print(line, flush=True)
        if view["status"] == "paused":
            return


class _Newest:
    """The newest view of a run, kept by a thread that reads updates."""

    def __init__(self, run: Run[Any]) -> None:
        self.view: dict[str, Any] | None = None
        self.error: FlowbookError | None = None
        self.over = False
        self.news = threading.Event()
        threading.Thread(target=self._read, args=(run,), daemon=True, name="flowbook-watch").start()

    def _read(self, run: Run[Any]) -> None:
        try:
            for self.view in run.watch():
                self.news.set()
        except FlowbookError as error:
            self.error = error
        self.over = True
        self.news.set()


def _pictures(run: str, connection: Connection, every: float = 0.1) -> Iterator[dict[str, Any]]:
    """The newest view, a few times a second, so that clocks tick; ends with the run, or when it pauses."""
    newest = _Newest(Run(run, connection))
    over = False
    while not over:
        newest.news.wait(every)
        newest.news.clear()
        over = newest.over
        if newest.error is not None:
            raise newest.error
        if newest.view is not None:
            yield newest.view
            over = over or newest.view["status"] == "paused"


def ending(summary: Summary, connection: Connection) -> str:
    """How the run ended, and what one may do next."""
    from flowbook.api.moment import clip, shown
    from flowbook.api.started import failure_place

    run, status = summary["id"], summary["status"]
    lines = []
    if status == "succeeded":
        result = None if summary["result"] is None else connection.plain(summary["result"])
        if isinstance(result, dict) and result and "$type" not in result:
            named = {printable(name): clip(shown(value)) for name, value in result.items()}
            label = max(len(name) for name in named)
            lines += ["result", *(f"  {name.ljust(label)}  {text}" for name, text in named.items())]
        else:
            lines.append(f"result  {clip(shown(result))}")
    elif summary["error"] is not None:
        error = summary["error"]
        where = f"step '{summary['step']}' failed" if summary["step"] else "the workflow failed"
        lines.append(f"{where}{failure_place(error)}")
        lines += [f"  {printable(line)}" for line in f"{error.type}: {error.message}".splitlines()]
    else:
        lines.append(f"{status}: {terminal.lines(summary['reason'])}" if summary["reason"] else status)
    return "\n".join([*lines, "", f"run     {run}", *_next(summary)])


def _next(summary: Summary) -> list[str]:
    run, typed = summary["id"], terminal.typed
    if summary["status"] == "failed":
        again = {"step": summary["step"]} if summary["step"] else {"at": str(summary["seq"])}
        todo = [
            (typed("at", run, str(summary["seq"])), "where it stood, with its variables"),
            (typed("fork", run, **again), "after mending the code: reuse what was done, run the rest"),
        ]
    elif summary["status"] == "paused":
        todo = [(typed("resume", run), "go on"), (typed("cancel", run), "stop it")]
    else:
        todo = [
            (typed("show", run), "the steps again"),
            (typed("at", run, str(max(1, summary["seq"] // 2))), "half-way"),
            (_lab(), "the same in JupyterLab: live graph, history, time travel"),
        ]
    width = max(len(command) for command, _ in todo)
    return [f"{'next' if not i else '':<6}  {command.ljust(width)}   {why}" for i, (command, why) in enumerate(todo)]


def _lab() -> str:
    makefile = Path("Makefile")
    return (
        "make lab" if makefile.is_file() and "\nlab:" in makefile.read_text(errors="replace") else terminal.typed("lab")
    )
