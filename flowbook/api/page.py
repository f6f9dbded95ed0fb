"""``flow``: the notebook one is in, as a workflow."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbook.errors import UserError

if TYPE_CHECKING:
    from flowbook.api.project import Runs
    from flowbook.api.started import Run
    from flowbook.core.module import Module


class Findings(list[Any]):
    """Diagnostics; shows as text for people."""

    def __init__(self, found: list[Any], text: str) -> None:
        super().__init__(found)
        self._text = text

    def __repr__(self) -> str:
        return self._text or "nothing to report"


class Flow:
    """A notebook or Python file as a workflow.

    ``flow`` itself is the notebook this kernel belongs to; ``flow("other.ipynb")`` is another one. The file is read as
    it was last saved.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def __call__(self, path: str | Path) -> Flow:
        return Flow(Path(path))

    @property
    def path(self) -> Path:
        """The file. Raises UserError where this kernel does not know its notebook."""
        found = self._path or current_notebook()
        if found is None:
            raise UserError("this kernel does not say which notebook it belongs to; name it: flow('my_notebook.ipynb')")
        return found

    @property
    def module(self) -> Module:
        """The compiled module: its ``source`` is readable Python. Raises CompileError."""
        from flowbook.api.source import load

        return load(self.path)[0]

    def check(self) -> Findings:
        """What the compiler has to say."""
        from flowbook.api.source import compile_file, render

        found = list(compile_file(self.path).diagnostics)
        return Findings(found, render(found, self.path))

    def graph(self) -> Any:
        """The step graph, live while the newest run of this notebook goes on."""
        from flowbook import widgets

        return widgets.flow_graph(self)

    def run(self, **params: Any) -> Run[Any]:
        """Start a durable run and give it at once."""
        from flowbook.api.project import run

        return run(self.path, **params)

    def runs(self, limit: int = 20) -> Runs:
        """The newest runs of this notebook."""
        from flowbook.api.connection import connect
        from flowbook.api.project import Runs
        from flowbook.api.started import Run, one_line

        connection = connect()
        origin = str(self.path.absolute())
        mine = [s for s in connection.client.runs(1000, "") if s["source"] == origin][:limit]
        return Runs([one_line(s, connection) for s in mine], [Run(s["id"], connection) for s in mine])

    def export(self, path: str | Path) -> Path:
        """Write the workflow as a Python module that runs without Jupyter."""
        target = Path(path)
        target.write_text(self.module.source, encoding="utf-8")
        return target

    def __repr__(self) -> str:
        found = self._path or current_notebook()
        return f"<flow {found.name}>" if found else "<flow: no notebook>"


def current_notebook() -> Path | None:
    """The notebook of this kernel, as JupyterLab, the Jupyter server or VS Code tell it; None outside one."""
    main = sys.modules.get("__main__")
    for told in (os.environ.get("JPY_SESSION_NAME"), getattr(main, "__vsc_ipynb_file__", None)):
        if not told:
            continue
        for candidate in (Path(told), Path.cwd() / Path(told).name):
            if candidate.suffix == ".ipynb" and candidate.is_file():
                return candidate.absolute()
    return None


flow = Flow()
