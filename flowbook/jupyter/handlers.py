"""The HTTP routes below ``flowbook/api``: read the request, ask the engine, answer JSON. No decisions here.

What takes its time is done in threads of asyncio. Those of anyio end with the task that began them, and where the
server is stopped before that, they keep its process from ending.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from flowbook import errors
from flowbook.core import token
from flowbook.core.value import Value
from flowbook.jupyter import compiling, running
from flowbook.jupyter.projects import Project, Projects
from flowbook.widgets import demands

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (errors.UnknownRun, 404),
    (errors.MissingValue, 404),
    (errors.RunConflict, 409),
    (errors.RunClosed, 409),
    (errors.CompileError, 422),
    (errors.UserError, 400),
    (errors.UnsavableValue, 400),
    (errors.EngineUnavailable, 503),
    (errors.StoreError, 503),
    (errors.ProtocolError, 502),
)

# What Jupyter's authorizer is asked, where a server is shared: may this user look, may this user act?
RESOURCE = "flowbook"
Method = Callable[..., Awaitable[None]]
looks: Callable[[Method], Method] = authorized("read", RESOURCE)
acts: Callable[[Method], Method] = authorized("execute", RESOURCE)


def described(error: BaseException) -> dict[str, Any]:
    """An error as the browser gets it."""
    found: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, errors.CompileError):
        found["diagnostics"] = compiling.findings(error.diagnostics)
    return found


class FlowbookHandler(APIHandler):
    """What the routes share. Authentication and the XSRF check come from Jupyter and are never relaxed."""

    @property
    def projects(self) -> Projects:
        """The projects of this server."""
        found: Projects = self.settings["flowbook_projects"]
        return found

    def project(self, given: dict[str, Any] | None = None) -> Project:
        """The project of the request: by ``home``, by notebook ``path``, else the server's own folder."""
        asked = given if given is not None else {}
        home = asked.get("home") or self.get_query_argument("home", "")
        path = asked.get("path") or self.get_query_argument("path", "")
        if home:
            return self.projects.of_home(str(home))
        return self.projects.of_notebook(str(path)) if path else self.projects.of_root()

    def body(self) -> dict[str, Any]:
        """The request's JSON object. Raises UserError."""
        try:
            found = json.loads(self.request.body or b"{}")
        except ValueError:
            raise errors.UserError("the request is not JSON") from None
        if not isinstance(found, dict):
            raise errors.UserError("the request must be a JSON object")
        return found

    def at(self) -> int | None:
        """The event number asked for, or None."""
        text = self.get_query_argument("at", "")
        if text and not (text.isascii() and text.isdigit()):
            raise errors.UserError(f"'at' must be the number of an event, not '{text}'")
        return int(text) if text else None

    def answer(self, found: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.finish(msgspec.json.encode(found))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors as ``{"error": {"type", "message"}}``, with a 4xx for what the user can put right."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        self.set_header("Content-Type", "application/json")
        if isinstance(error, errors.FlowbookError):
            status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
            self.set_status(status)
            self.finish(json.dumps({"error": described(error)}))
            return
        message = error.log_message if isinstance(error, web.HTTPError) else None
        kind = type(error).__name__ if error is not None else "HTTPError"
        text = message or (f"{kind}: {error}" if error is not None and not isinstance(error, web.HTTPError) else "")
        self.finish(json.dumps({"error": {"type": kind, "message": text or self._reason}}))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A user's mistake is no server trouble: it goes to the user and not into the log."""
        if not isinstance(value, errors.FlowbookError):
            super().log_exception(typ, value, tb)


class CompileHandler(FlowbookHandler):
    """POST: the notebook as it stands in the editor, compiled."""

    @web.authenticated
    @looks
    async def post(self) -> None:
        """``{path, content}`` -> graph, diagnostics, parameters, source."""
        body = self.body()
        project = self.project(body)
        found = await asyncio.to_thread(compiling.page, body.get("content"), project.notebook)
        self.answer({**found, "home": str(project.home)})


class RunsHandler(FlowbookHandler):
    """GET: the project's runs. POST: start one."""

    @web.authenticated
    @looks
    async def get(self) -> None:
        """Summaries, newest first; looking starts no engine where none ever worked."""
        project = self.project()
        runs: list[Any] = []
        if project.begun:
            status = self.get_query_argument("status", "")
            runs = list(await (await project.client()).runs(200, status))
        self.answer({"runs": runs, "home": str(project.home), "file": str(project.file or "")})

    @web.authenticated
    @acts
    async def post(self) -> None:
        """``{path, content, arguments | texts, id?, name?}`` -> summary."""
        body = self.body()
        project = self.project(body)
        summary = await running.start(project, body)
        self.answer({**summary, "home": str(project.home)}, 201)


class RunHandler(FlowbookHandler):
    """GET: one run's summary."""

    @web.authenticated
    @looks
    async def get(self, run: str) -> None:
        """The summary."""
        project = self.project()
        self.answer({**await (await project.client()).run(run), "home": str(project.home)})


class ViewHandler(FlowbookHandler):
    """GET: one run's view."""

    @web.authenticated
    @looks
    async def get(self, run: str) -> None:
        """As of event ``at``, or now."""
        self.answer(await (await self.project().client()).view(run, self.at()))


class HistoryHandler(FlowbookHandler):
    """GET: one run's events."""

    @web.authenticated
    @looks
    async def get(self, run: str) -> None:
        """All of them, in order."""
        self.answer(await (await self.project().client()).history(run))


class MomentHandler(FlowbookHandler):
    """GET: frames and values as of one event."""

    @web.authenticated
    @looks
    async def get(self, run: str) -> None:
        """``at`` is needed."""
        at = self.at()
        if at is None:
            raise errors.UserError("say which event: at=N")
        self.answer(await (await self.project().client()).at(run, at))


class SignalHandler(FlowbookHandler):
    """POST: send a signal."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{name, value, id?}`` -> summary."""
        body = self.body()
        name = str(body.get("name") or "")
        if not name:
            raise errors.UserError("say which signal: 'name' is missing")
        project = self.project(body)
        value = await asyncio.to_thread(running.value_of, project, name, body.get("value"))
        self.answer(await (await project.client()).signal(run, name, value, str(body.get("id") or "")))


class CancelHandler(FlowbookHandler):
    """POST: stop a run."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{reason?}`` -> outcome."""
        body = self.body()
        client = await self.project(body).client()
        self.answer(await client.cancel(run, str(body.get("reason") or "stopped in JupyterLab")))


class TerminateHandler(FlowbookHandler):
    """POST: end a run without its code having a say."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{reason?, now?}`` -> outcome."""
        body = self.body()
        reason = str(body.get("reason") or "terminated in JupyterLab")
        client = await self.project(body).client()
        self.answer(await client.ask(demands.terminate(run, reason, bool(body.get("now")))))


class UpdateHandler(FlowbookHandler):
    """POST: send an update."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{name, values, id}`` -> the update, as recorded."""
        body = self.body()
        project = self.project(body)
        asked = await asyncio.to_thread(demands.update, run, body, partial(_encoded, project))
        self.answer(await (await project.client()).ask(asked))


class CompleteHandler(FlowbookHandler):
    """POST: finish a step that waits for an answer from outside."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{token, value | failure}`` -> summary. The token says which step; ``run`` must be its run."""
        body = self.body()
        project = self.project(body)
        asked = await asyncio.to_thread(demands.complete, body, partial(_encoded, project))
        if token.read(str(body["token"])).run != run:
            raise errors.UserError(f"this token is of another run, not of {run}")
        self.answer(await (await project.client()).ask(asked))


class SettleHandler(FlowbookHandler):
    """POST: say that something the run owes outside is settled."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{key, note}`` -> summary."""
        body = self.body()
        self.answer(await (await self.project(body).client()).ask(demands.settle(run, body)))


class RetryHandler(FlowbookHandler):
    """POST: have a run of its own take back what the run owes outside."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{key}`` -> summary, which names the run that tries."""
        body = self.body()
        self.answer(await (await self.project(body).client()).ask(demands.retry(run, body)))


def _encoded(project: Project, value: Any, name: str) -> Value:
    return running.value_of(project, name, value)


class ResumeHandler(FlowbookHandler):
    """POST: let a paused run go on."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """Summary. A run that is not paused stays as it is."""
        self.answer(await (await self.project(self.body()).client()).resume(run))


class ForkHandler(FlowbookHandler):
    """POST: plan a fork, or start it."""

    @web.authenticated
    @acts
    async def post(self, run: str) -> None:
        """``{at | step, content?, plan}`` -> the plan, or the new run's summary."""
        body = self.body()
        project = self.project(body)
        if body.get("plan"):
            made, _, _ = await running.planned(project, run, body)
            self.answer(made)
            return
        summary = await running.fork(project, run, body)
        self.answer({**summary, "home": str(project.home)}, 201)


class ExportHandler(FlowbookHandler):
    """POST: the notebook's workflow as a Python module."""

    @web.authenticated
    @looks
    async def post(self) -> None:
        """``{path, content}`` -> ``{source, name}``. Nothing is written; the browser saves it where it belongs."""
        body = self.body()
        project = self.project(body)
        module, _ = await asyncio.to_thread(compiling.runnable, body.get("content"), project.notebook)
        self.answer({"source": module.source, "name": f"{project.notebook.stem}.py"})


class StatusHandler(FlowbookHandler):
    """GET: the engine about itself."""

    @web.authenticated
    @looks
    async def get(self) -> None:
        """``{"begun": false}`` where no engine has worked yet."""
        project = self.project()
        status: dict[str, Any] = {"home": str(project.home), "begun": project.begun}
        if project.begun:
            status.update(await (await project.client()).status())
        self.answer(status)


_RUN = r"flowbook/api/runs/([^/]+)"

ROUTES: tuple[tuple[str, type[FlowbookHandler]], ...] = (
    (r"flowbook/api/compile", CompileHandler),
    (r"flowbook/api/runs", RunsHandler),
    (_RUN, RunHandler),
    (rf"{_RUN}/view", ViewHandler),
    (rf"{_RUN}/history", HistoryHandler),
    (rf"{_RUN}/at", MomentHandler),
    (rf"{_RUN}/signal", SignalHandler),
    (rf"{_RUN}/cancel", CancelHandler),
    (rf"{_RUN}/terminate", TerminateHandler),
    (rf"{_RUN}/update", UpdateHandler),
    (rf"{_RUN}/complete", CompleteHandler),
    (rf"{_RUN}/settle", SettleHandler),
    (rf"{_RUN}/retry", RetryHandler),
    (rf"{_RUN}/resume", ResumeHandler),
    (rf"{_RUN}/fork", ForkHandler),
    (r"flowbook/api/export", ExportHandler),
    (r"flowbook/api/status", StatusHandler),
)
