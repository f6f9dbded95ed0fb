"""Each sample notebook runs to its result, as a notebook and as the module it exports, with no Jupyter around."""

from __future__ import annotations

import pytest

from tests.end_to_end.project import Project

pytestmark = pytest.mark.slow


def test_provision_vm(project: Project) -> None:
    found = project.json("run", "provision_vm.ipynb", "-p", "region=eu-2")
    assert found["status"] == "succeeded" and found["error"] is None
    assert found["result"]["machine"]["region"] == "eu-2"
    shown = project.json("show", found["id"])
    assert shown["steps"]["create"]["status"] == "done"


def test_weather_report(project: Project) -> None:
    found = project.json("run", "weather_report.ipynb")
    assert found["status"] == "succeeded" and found["result"]


def test_approval(project: Project) -> None:
    started = project.json("run", "approval.ipynb", "--detach", "--id", "a1")
    assert started["id"] == "a1" and started["status"] in ("running", "waiting")
    signal = _awaited_signal(project, "a1")
    project("signal", "a1", signal, "true")
    assert project.json("watch", "a1")["status"] == "succeeded"


def _awaited_signal(project: Project, run: str) -> str:
    for _ in range(100):
        waits = [wait for wait in project.json("show", run)["waits"] if wait["kind"] == "signal"]
        if waits:
            return str(waits[0]["name"])
    raise AssertionError("the run never waited for a signal")


def test_an_exported_module_gives_the_same_without_jupyter(project: Project) -> None:
    notebook = project.json("run", "weather_report.ipynb")
    project("export", "weather_report.ipynb", "-o", "weather_module.py")
    graph = project("graph", "weather_report.ipynb", "--format", "json").stdout
    project("engine", "stop")
    project.without_jupyter()
    assert project("graph", "weather_module.py", "--format", "json").stdout == graph
    module = project.json("run", "weather_module.py")
    assert module["status"] == "succeeded" and module["result"] == notebook["result"]


def test_steps_follow_the_terminal_when_it_is_none(project: Project) -> None:
    shown = project("run", "provision_vm.ipynb").stdout
    assert "✓ create  done" in shown and "result" in shown and "flowbook show provision_vm-" in shown
