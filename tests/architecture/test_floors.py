"""The layout is a rule that fails the build: floors, sizes, headers, and what may be loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "flowbook").rglob("*.py"))
FILE_LIMIT, FUNCTION_LIMIT = 500, 80
FORBIDDEN_NAMES = {"utils", "helpers", "helper", "manager", "common", "misc"}


def relative(path: Path) -> str:
    """The path from the repository's root."""
    return str(path.relative_to(ROOT))


@pytest.mark.slow
def test_import_contracts_hold() -> None:
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_says_what_it_is_for_and_stays_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "begin with what belongs here and what must not"
    assert len(text.splitlines()) <= FILE_LIMIT, "a file is read in one sitting; split it"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LIMIT, f"{node.name} does not fit on a screen"


def test_no_file_is_called_after_nothing() -> None:
    assert not [
        relative(path) for path in MODULES if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES
    ]


@pytest.mark.slow
def test_an_exported_module_loads_neither_jupyter_nor_duckdb_nor_networkx() -> None:
    code = (
        "import sys\n"
        "from flowbook import RetryPolicy, display, now, record, results, signal, sleep, step, workflow\n"
        "@step(retry=RetryPolicy(maximum_attempts=2))\n"
        "def one(x): return x\n"
        "@workflow\n"
        "async def flow(x: int = 1):\n"
        "    return await results(x=one.start(x))\n"
        "heavy = {'duckdb', 'networkx', 'IPython', 'jupyter_server', 'pygraphviz', 'pandas', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_help_loads_nothing_heavy() -> None:
    code = "import sys\nfrom flowbook.cli.parser import build\nbuild().format_help()\nprint('msgspec' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_public_name_is_there_and_visible_to_type_checkers() -> None:
    import flowbook

    tree = ast.parse((ROOT / "flowbook/__init__.py").read_text())
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        for inner in node.body
        if isinstance(inner, ast.ImportFrom)
        for alias in inner.names
    }
    assert typed == set(flowbook.__all__)
    for name in set(flowbook.__all__) - {"load_ipython_extension"}:
        assert getattr(flowbook, name) is not None
