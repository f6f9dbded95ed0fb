"""The WebSocket ``flowbook/ws``: any number of subscriptions to runs, and to the list of runs.

The browser says ``{"watch": run or "*", "path" | "home", "as"?}`` and ``{"unwatch": as}``; every message that
comes back carries the ``as`` it belongs to (by default the run's id).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import anyio
import msgspec
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.utils import ensure_async
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from flowbook.errors import FlowbookError, UserError
from flowbook.jupyter.handlers import RESOURCE, described
from flowbook.jupyter.projects import Project, Projects

ALL = "*"

Updates = AsyncGenerator[dict[str, Any], None]


class LiveHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One browser's connection. Jupyter's own WebSocket rules apply: authenticated, same origin."""

    def initialize(self) -> None:
        """Tornado's constructor hook."""
        super().initialize()
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """The handshake, for an authenticated user alone."""
        await self._refuse_strangers()
        await super().get(*args, **kwargs)

    async def _refuse_strangers(self) -> None:
        user = self.current_user
        # An authorizer may answer at once or with an awaitable, which would count as a yes if it were not awaited.
        if user is None or not await ensure_async(self.authorizer.is_authorized(self, user, "read", RESOURCE)):
            raise web.HTTPError(403)

    async def on_message(self, message: str | bytes) -> None:
        """One request of the browser."""
        try:
            asked = json.loads(message)
        except ValueError:
            return
        if not isinstance(asked, dict):
            return
        if asked.get("unwatch"):
            self._drop(str(asked["unwatch"]))
        elif asked.get("watch"):
            mark = str(asked.get("as") or asked["watch"])
            self._drop(mark)
            self._watches[mark] = asyncio.create_task(self._watch(mark, str(asked["watch"]), asked))

    def on_close(self) -> None:
        """The browser has left."""
        super().on_close()
        for mark in list(self._watches):
            self._drop(mark)

    def _drop(self, mark: str) -> None:
        task = self._watches.pop(mark, None)
        if task is not None:
            task.cancel()

    async def _watch(self, mark: str, run: str, asked: dict[str, Any]) -> None:
        head = {"id": run, "as": mark}
        try:
            project = self._project(asked)
            if run == ALL:
                await self._watch_all(project, head)
            else:
                await self._watch_run(project, run, head)
        except FlowbookError as error:
            await self._say({**head, "error": described(error)})
        except WebSocketClosedError:
            return

    async def _watch_run(self, project: Project, run: str, head: dict[str, Any]) -> None:
        client = await project.client()
        async with aclosing(cast(Updates, client.watch(run, settled=True))) as updates:
            async for update in updates:
                await self._say({**head, **update})
        await self._say({**head, "last": True})

    async def _watch_all(self, project: Project, head: dict[str, Any]) -> None:
        head = {**head, "home": str(project.home)}
        if not project.begun:
            # Somebody who only looks starts no engine.
            await self._say({**head, "runs": []})
            while not project.begun:
                await anyio.sleep(1)
        client = await project.client()
        async with aclosing(cast(Updates, client.watch())) as updates:
            async for update in updates:
                await self._say({**head, **update})

    def _project(self, asked: dict[str, Any]) -> Project:
        projects: Projects = self.settings["flowbook_projects"]
        if asked.get("home"):
            return projects.of_home(str(asked["home"]))
        if asked.get("path"):
            return projects.of_notebook(str(asked["path"]))
        if asked["watch"] != ALL:
            raise UserError("say where the run is: 'path' of its notebook, or 'home'")
        return projects.of_root()

    async def _say(self, message: dict[str, Any]) -> None:
        await self.write_message(msgspec.json.encode(message))
