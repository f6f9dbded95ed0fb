"""What a loop can do and a run's loop cannot, each with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from flowbook.errors import NotDeterministic

_NETWORK = "do network IO in a step"
_FILES = "do file and pipe IO in a step"
_PROCESS = "start processes in a step"
_DRIVE = "the engine drives this loop; await the coroutine instead"
_TASKS = "the tasks of a workflow are its loop's own"

_REFUSED = {
    "run_forever": _DRIVE,
    "run_until_complete": _DRIVE,
    "stop": "return from the workflow instead",
    "set_task_factory": _TASKS,
    "add_signal_handler": "use flowbook's signal()",
    "remove_signal_handler": "use flowbook's signal()",
    **dict.fromkeys(("add_reader", "remove_reader", "add_writer", "remove_writer"), _FILES),
    **dict.fromkeys(("connect_read_pipe", "connect_write_pipe", "sendfile", "sock_sendfile"), _FILES),
    **dict.fromkeys(("subprocess_shell", "subprocess_exec"), _PROCESS),
    **dict.fromkeys(
        (
            "getaddrinfo",
            "getnameinfo",
            "create_connection",
            "create_server",
            "create_unix_connection",
            "create_unix_server",
            "create_datagram_endpoint",
            "connect_accepted_socket",
            "start_tls",
            "sock_recv",
            "sock_recv_into",
            "sock_recvfrom",
            "sock_recvfrom_into",
            "sock_sendall",
            "sock_sendto",
            "sock_connect",
            "sock_accept",
        ),
        _NETWORK,
    ),
}


def refuse_all(loop: type) -> None:
    """Give the class a method for each of these, which raises NotDeterministic."""
    for name, instead in _REFUSED.items():
        setattr(loop, name, _refuse(name, instead))


def _refuse(name: str, instead: str) -> Callable[..., NoReturn]:
    def refused(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotDeterministic(f"{name}() cannot be re-executed inside a workflow; {instead}")

    refused.__name__ = name
    return refused
