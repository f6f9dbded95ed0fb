"""The server extension: its routes, and the clients it opens and closes."""

from __future__ import annotations

from pathlib import Path

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.utils import url_path_join

from flowbook.jupyter.handlers import ROUTES
from flowbook.jupyter.live import LiveHandler
from flowbook.jupyter.projects import Projects


class FlowbookServer(ExtensionApp):
    """Flowbook for browsers."""

    name = "flowbook"
    load_other_extensions = True

    def initialize_settings(self) -> None:
        """The projects below the server's folder."""
        root = Path(self.serverapp.root_dir) if self.serverapp is not None else Path.cwd()
        self.settings["flowbook_projects"] = Projects(root)

    def initialize_handlers(self) -> None:
        """The routes. ExtensionApp puts the base address in front."""
        self.handlers.extend([(url_path_join("/", pattern), handler) for pattern, handler in ROUTES])
        self.handlers.append((r"/flowbook/ws", LiveHandler))

    async def stop_extension(self) -> None:
        """Leave the engines; they go on."""
        await self.settings["flowbook_projects"].close()
