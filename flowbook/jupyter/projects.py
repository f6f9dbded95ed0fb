"""The projects a Jupyter server serves: one engine client for each state folder, and whose notebooks are whose.

Clients live in a task of their own, because an anyio task group must be left where it was entered.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from flowbook.client import AsyncClient
from flowbook.client.launch import find_home
from flowbook.errors import EngineUnavailable, UserError
from flowbook.store.home import Home


class Project:
    """A state folder and the client that talks to its engine. ``file`` is the notebook asked about, if one was."""

    def __init__(self, home: Path, keeper: Keeper, file: Path | None = None) -> None:
        self.home = home
        self.file = file
        self._keeper = keeper

    @property
    def begun(self) -> bool:
        """Whether an engine has ever worked here; looking alone should start none."""
        return Home(self.home).token.exists()

    @property
    def notebook(self) -> Path:
        """The notebook asked about. Raises UserError where none was named."""
        if self.file is None:
            raise UserError("say which notebook this is about: 'path' is its path below the server's folder")
        return self.file

    async def client(self) -> AsyncClient:
        """The client; the engine starts with the first call."""
        return await self._keeper.client()


class Keeper:
    """Holds one client open until it is told to let go, and opens another where that one has ended."""

    def __init__(self, home: Path, *, is_closed: bool = False) -> None:
        self._home = home
        self._is_closed = is_closed
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[AsyncClient] | None = None

    async def client(self) -> AsyncClient:
        """The open client. Raises EngineUnavailable once this has let go."""
        if self._is_closed:
            # Pages go on asking until the server is gone, and nobody would close what is opened for them now.
            raise EngineUnavailable("this Jupyter server is about to end.")
        if self._task is None or self._task.done() or self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._hold(self._ready), name=f"flowbook client of {self._home}")
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Let go, for good."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task

    async def _hold(self, ready: asyncio.Future[AsyncClient]) -> None:
        try:
            async with AsyncClient(self._home) as client:
                ready.set_result(client)
                await asyncio.Event().wait()
        finally:
            if not ready.done():
                ready.set_exception(EngineUnavailable(f"the client of {self._home} could not be opened."))


class Projects:
    """All projects met so far. ``root`` is the folder that notebook paths are relative to."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self._keepers: dict[Path, Keeper] = {}
        self._is_closed = False

    def of_notebook(self, path: str) -> Project:
        """The project of a notebook, by its path as JupyterLab says it. Raises UserError for one outside the root."""
        # A drive's name, as the collaboration extension puts it in front.
        inner = path.split(":", 1)[1] if ":" in path.split("/", 1)[0] else path
        # Links inside the folder may lead elsewhere, as they may in Jupyter's file browser; ".." may not.
        plain = Path(os.path.normpath(self.root / inner.lstrip("/")))
        if not plain.is_relative_to(self.root) or "\0" in path:
            raise UserError(f"'{path}' is outside the folder that this server shows ({self.root})")
        full = plain.resolve()
        folder = full.parent
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return self._project(find_home(folder), full)

    def of_home(self, home: str) -> Project:
        """The project with this state folder. Raises UserError where that is none, or another user's."""
        folder = Path(home)
        token = Home(folder).token
        try:
            own = folder.is_absolute() and token.stat().st_uid == os.getuid()
        except OSError:
            own = False
        if not own:
            raise UserError(f"'{home}' is not a state folder of yours with a Flowbook engine")
        return self._project(folder)

    def of_root(self) -> Project:
        """The project of the server's own folder."""
        return self._project(find_home(self.root))

    async def close(self) -> None:
        """Close every client; the engines go on."""
        self._is_closed = True
        for keeper in self._keepers.values():
            await keeper.close()

    def _project(self, home: Path, file: Path | None = None) -> Project:
        keeper = self._keepers.setdefault(home, Keeper(home, is_closed=self._is_closed))
        return Project(home, keeper, file)
