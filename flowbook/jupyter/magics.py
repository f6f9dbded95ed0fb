"""``%flow`` in a kernel, and ``flow`` in its namespace. Everything it does, ``flow.…`` does too."""

from __future__ import annotations

import shlex
from typing import Any

from IPython.core.error import UsageError

from flowbook.api.page import Flow, flow
from flowbook.errors import FlowbookError

USAGE = """\
%flow                       what there is to type
%flow graph [FILE]          the step graph, live while the newest run goes on
%flow run [FILE] [k=v ...]  start a durable run of the saved notebook
%flow runs                  its newest runs
%flow check [FILE]          what the compiler has to say
%flow export FILE.py        write the workflow as plain Python"""


def load_ipython_extension(shell: Any) -> None:
    """Make ``%flow`` and ``flow`` known. Called by ``%load_ext flowbook`` and by the Flowbook kernel."""
    shell.register_magic_function(_magic, "line", "flow")
    shell.user_ns.setdefault("flow", flow)
    # A name that the user did not make stays out of %who and of what is saved.
    shell.user_ns_hidden.setdefault("flow", flow)


def unload_ipython_extension(shell: Any) -> None:
    """Take them away again."""
    shell.magics_manager.magics["line"].pop("flow", None)
    if shell.user_ns.get("flow") is flow:
        del shell.user_ns["flow"]


def _magic(line: str) -> Any:
    """Flowbook: graph, run, runs, check, export."""
    words = shlex.split(line)
    if not words:
        print(USAGE)  # noqa: T201  (a magic's usage text is its output)
        return None
    try:
        return _act(words[0], words[1:])
    except FlowbookError as error:
        # A UsageError prints its message alone; the traceback through this package would help nobody.
        raise UsageError(str(error)) from None


def _act(action: str, words: list[str]) -> Any:
    match action:
        case "graph":
            return _page(words).graph()
        case "run":
            return _run(words)
        case "runs":
            return _page(words).runs()
        case "check":
            return _page(words).check()
        case "export" if words:
            return flow.export(words[0])
        case _:
            raise UsageError(f"%flow {action}: not known\n{USAGE}")


def _page(words: list[str]) -> Flow:
    return flow(words[0]) if words else flow


def _run(words: list[str]) -> Any:
    from flowbook.api.arguments import from_texts, read_params
    from flowbook.api.source import load

    page = flow(words[0]) if words and "=" not in words[0] else flow
    texts = read_params(word for word in words if "=" in word)
    return page.run(**from_texts(*load(page.path), texts))
