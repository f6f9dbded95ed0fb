"""The little language on top of a cell: what is read, and where each finding points."""

from __future__ import annotations

import pytest

from flowbook.compiler.annotations import KEYS, LATER, read_annotations


def options(head: str) -> dict[str, str]:
    found = read_annotations(head + "\nx = 1")
    assert not found.diagnostics, found.diagnostics
    return {key: option.text for key, option in found.options.items()}


def findings(head: str) -> list[str]:
    """``code severity underlined text -> replacement`` for each finding."""
    source = head if "\nx" in head else head + "\nx = 1"
    out = []
    for found in read_annotations(source).diagnostics:
        under = source.split("\n")[found.line - 1][found.column - 1 : found.end_column - 1]
        out.append(f"{found.code} {found.severity} {under}" + "".join(f" -> {edit.text}" for edit in found.edits))
    return out


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("#| step", {"step": ""}),
        ("#| step: true", {"step": ""}),
        ("#| step: false", {}),
        ("# | step: load", {"step": "load"}),
        ("#|step: load", {"step": "load"}),
        ("#| step: 'load orders'", {"step": "load orders"}),
        ("#| retries: 5  # many", {"retries": "5"}),
        ("#| when: tag == '# 1'  # not yet", {"when": "tag == '# 1'"}),
        ("#| when: True", {"when": "True"}),
        ("#| needs: a, b", {"needs": "a, b"}),
        ("#| needs:\n#|   - a\n#|   - 'b'", {"needs": "a, b"}),
        ("#| needs:\n#|   - a\n#| step: c", {"needs": "a", "step": "c"}),
        ("#| until: x > 1  every: 2s  timeout: 1m", {"loop.until": "x > 1", "loop.every": "2s", "loop.timeout": "1m"}),
        ("#| timeout: 1s\n#| until: x", {"timeout": "1s", "loop.until": "x"}),
        ("#| loop:\n#|   until: x\n#|   timeout: 1m\n#| timeout: 1s", None),
        ("#| loop: {until: state in ('a', 'b'), every: 2s}", None),
        ("#| workflow: nightly", {"workflow": "nightly"}),
        ("#| workflow:\n#|   name: nightly", {"workflow": "nightly"}),
        ("#| workflow: {name: nightly}", {"workflow": "nightly"}),
        ("#| fig-cap:\n#|   - step: no\n#| echo: false\n#| unknown-to-all: 3", {}),
        ("#| layout:\n#|   timeout: 3", {}),
        ("#|\n#| step", {"step": ""}),
        ("#| # a comment\n#| step", {"step": ""}),
    ],
)
def test_it_is_read(head: str, expected: dict[str, str] | None) -> None:
    found = options(head)
    if expected is not None:
        assert found == expected
    elif "every" in head:
        assert found == {"loop": "", "loop.until": "state in ('a', 'b')", "loop.every": "2s"}
    else:
        assert found == {"loop": "", "loop.until": "x", "loop.timeout": "1m", "timeout": "1s"}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("#| retires: 5", ["FB001 error retires -> retries"]),
        ("#| Step: load", ["FB001 error Step -> step"]),
        ("#| step:load", ["FB002 error step:load -> step: load"]),
        ("#| step=load", ["FB002 error step=load -> step: load"]),
        ("#| step load", ["FB002 error step load -> step: load"]),
        ("#| retries: 1\n#| retries: 2", ["FB002 error retries"]),
        ("#| timeout", ["FB002 error timeout"]),
        ("#| needs:", ["FB002 error needs"]),
        ("#| needs:\n#|   a", ["FB002 error a", "FB002 error needs"]),
        ("#| loop:\n#|   evrey: 2s", ["FB001 error evrey -> every"]),
        ("#| loop:\n#|   retries: 2", ["FB002 error retries"]),
        ("#| loop:\n#|   until:", ["FB002 error until"]),
        ("#| loop: {till: x}", ["FB002 error till"]),
        ("#| workflow: {name: a, schedule: '0 6 * * *'}", ["FB003 warning schedule"]),
        ("#| workflow:\n#|   name: a\n#|   on_failure: tell", ["FB003 warning on_failure"]),
        ("#| workflow: {schedule: daily}", ["FB003 warning schedule"]),
        ("#| workflow:\n#|   schedule: daily", ["FB003 warning schedule"]),
        ("#| reuse: inputs", ["FB003 warning reuse"]),
        ("x = 1\n#| retries: 3", ["FB023 warning #| retries: 3"]),
        ("#| step\n\n# | timeout: 3s\nx = 1", ["FB023 warning # | timeout: 3s"]),
        ('x = """\n#| step: text\n"""', []),
        ("x = 1\n#| as you see, this is prose", []),
    ],
)
def test_what_is_wrong_is_underlined(head: str, expected: list[str]) -> None:
    assert findings(head) == expected


@pytest.mark.parametrize("key", [*KEYS, *LATER])
def test_a_place_is_where_the_value_stands(key: str) -> None:
    source = f"#| echo: false\n#|  {key}:   value  # why\nx = 1"
    for option in read_annotations(source).options.values():
        assert source.split("\n")[option.line - 1][option.column - 1 :].startswith("value")


def test_eval_false_takes_the_cell_out() -> None:
    assert read_annotations("#| step\n#| eval: false\nx = 1").ignored
    assert not read_annotations("#| step\n#| eval: true\nx = 1").ignored


@pytest.mark.parametrize(
    "head",
    [
        '#| workflow: {name: x, schedule: "0 3 * * *"}',
        "#| workflow:\n#|   name: x\n#|   schedule: 0 3 * * *",
        "#| schedule: '0 3 * * *'",
    ],
)
def test_a_schedule_is_read_and_starts_nothing_by_itself(head: str) -> None:
    found = read_annotations(head + "\nx = 1")
    assert found.text("schedule") == "0 3 * * *"
    (warning,) = found.diagnostics
    assert (warning.code, warning.severity) == ("FB003", "warning") and "schedule set" in warning.fix


@pytest.mark.parametrize("head", ["#| schedule: nightly", "#| schedule:", "#| workflow: {name: x, schedule: 0 3 * *}"])
def test_a_schedule_that_is_no_cron_expression_is_explained(head: str) -> None:
    found = read_annotations(head + "\nx = 1")
    assert found.text("schedule") is None
    (warning,) = found.diagnostics
    assert warning.severity == "warning" and "is not a cron expression" in warning.message
