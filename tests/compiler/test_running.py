"""Generated modules really run: compiled, executed as a worker would, and driven in memory."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.core import events as e
from tests.compiler.pages import accepted, workflow
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


def driven(text: str, evict: bool, **arguments: Any) -> Driver:
    return Driver(workflow(accepted(text)), evict=evict, **arguments)


def test_parameters_have_defaults_and_can_be_given(evict: bool) -> None:
    text = """
#| params
rows = 3
word: str = "x"
---
#| step: build
line = word * rows
"""
    assert driven(text, evict).run() == {"line": "xxx"}
    assert driven(text, evict, rows=1, word="ab").run() == {"line": "ab"}


def test_a_step_may_be_called_like_what_it_makes_and_uses(evict: bool) -> None:
    text = """
#| params
results = 2
---
from math import floor as step
---
#| step: total
total = step(results + 0.5)
---
#| step: sum
display = total + 1
---
#| step: page
page = display * 10
"""
    assert driven(text, evict).run() == {"page": 30}


def test_a_name_is_rebound_down_the_page(evict: bool) -> None:
    text = """
#| step: load
rows = [3, 1, 2]
---
#| step: clean
rows = sorted(rows)
---
#| step: first
least = rows[0]
---
#| step: more
rows += [9]
"""
    assert driven(text, evict).run() == {"least": 1, "rows": [1, 2, 3, 9]}


def test_map_gives_a_list_of_each_output(evict: bool) -> None:
    text = """
#| step: load
orders = [1, 2, 3]
factor = 10
---
order = orders[0]
---
#| step: price
#| map: orders as order
#| concurrency: 2
price = order * factor
odd = bool(order % 2)
---
#| step: total
total = sum(price), odd
"""
    driver = driven(text, evict)
    assert driver.run() == {"total": (60, [True, False, True])} or driver.run() == {"total": [60, [True, False, True]]}
    assert driver.executed.count("price") == 3


def test_a_false_condition_skips_the_step_and_what_needs_it(evict: bool) -> None:
    text = """
#| params
total = 5
---
#| step: alert
#| when: total > limit
message = f"{total} is much"
---
limit = 10
---
#| step: send
sent = message.upper()
"""
    assert driven(text, evict).run() == {"sent": None}
    assert driven(text, evict, total=11).run() == {"sent": "11 IS MUCH"}


def test_a_skipped_rebinding_leaves_the_earlier_version(evict: bool) -> None:
    text = """
#| params
many = False
---
#| step: load
rows, note = [1], "plain"
---
#| step: add
#| when: many
rows = [*rows, 2]
note = "added"
---
#| step: count
count = len(rows), note
"""
    assert list(driven(text, evict).run()["count"]) == [1, "plain"]
    assert list(driven(text, evict, many=True).run()["count"]) == [2, "added"]


def test_a_step_skipped_because_of_another_leaves_the_earlier_version_too(evict: bool) -> None:
    text = """
#| params
go = False
---
#| step: load
rows = [1]
---
#| step: fetch
#| when: go
extra = [2]
---
#| step: add
rows = rows + extra
---
#| step: count
count = len(rows)
"""
    assert driven(text, evict).run() == {"count": 1}
    assert driven(text, evict, go=True).run() == {"count": 2}


def test_a_loop_carries_over_what_it_reads_and_writes(evict: bool) -> None:
    text = """
#| step: begin
tries = 0
---
#| step: poll
#| loop:
#|   until: status == "ready"
#|   every: 10s
tries = tries + 1
status = "ready" if tries == 3 else "starting"
---
#| step: say
said = f"{status} after {tries}"
"""
    driver = driven(text, evict)
    assert driver.run() == {"said": "ready after 3"}
    assert driver.clock == 1020.0


def test_a_loop_ends_after_its_rounds_or_its_time(evict: bool) -> None:
    for limit in ("max: 3", "timeout: 25s"):
        text = f"""
#| step: poll
#| until: done  every: 10s  {limit}
done = False
"""
        driver = driven(text, evict)
        failed = driver.run()
        assert isinstance(failed, e.RunFailed) and failed.failure.type == "TimeoutError"
        assert driver.executed == ["poll"] * 3


def test_a_signal_comes_in_as_a_name(evict: bool) -> None:
    text = """
#| step: load
report = "numbers"
---
#| step: publish
#| wait: approval
#| timeout: 24h
published = report if approval["yes"] else None
"""
    driver = driven(text, evict)
    driver.send("approval", {"yes": True})
    assert driver.run() == {"published": "numbers"}
    failed = driven(text, evict).run()
    assert isinstance(failed, e.RunFailed) and failed.failure.type == "TimeoutError"


def test_a_cell_that_sets_the_signal_stands_in_when_nobody_answers(evict: bool) -> None:
    text = """
#| step: ask
#| wait: approval
#| timeout: 1h
approval = "nobody answered"
---
#| step: settle
answer = approval
"""
    driver = driven(text, evict)
    assert driver.run() == {"answer": "nobody answered"}
    assert driver.clock == 4600.0
    driver = driven(text, evict)
    driver.send("approval", "yes")
    assert driver.run() == {"answer": "yes"}
    assert driver.executed == ["settle"]


def test_a_wait_without_code_gives_the_signal_to_the_steps_below(evict: bool) -> None:
    text = """
#| step: load
report = "numbers"
---
#| step: ask
#| wait: signal approval
#| needs: load
---
#| step: publish
published = (report, approval)
"""
    driver = driven(text, evict)
    driver.send("approval", True)
    assert list(driver.run()["published"]) == ["numbers", True]


def test_a_duration_sleeps_and_then_runs(evict: bool) -> None:
    text = """
#| step: load
report = 1
---
#| step: remind
#| wait: 2h
reminder = report + 1
"""
    driver = driven(text, evict)
    assert driver.run() == {"reminder": 2}
    assert driver.clock == 8200.0


def test_undo_runs_with_what_is_known_when_a_later_step_fails(evict: bool) -> None:
    text = """
#| params
region = "eu"
fail = True
---
log = []
---
#| step: plan
name = "vm-1"
---
#| step: create
#| undo: release
vm = {"name": name}
log.append(f"create {name}")
---
#| step: check
#| retries: 1
#| backoff: 1s
assert not fail, vm["name"]
ok = True
---
#| step: release
#| loop:
#|   until: gone
#|   every: 1s
log.append(f"release {name} {vm} {region}")
gone = len(log) > 2
""".replace("log = []", "#| shared\nlog = []")
    driver = driven(text, evict)
    failed = driver.run()
    assert isinstance(failed, e.RunFailed) and failed.failure.type == "AssertionError"
    assert driver.executed == ["plan", "create", "check", "check", "release", "release"]
    driver = driven(text, evict, fail=False)
    assert driver.run()["ok"] is True
    assert "release" not in driver.executed


def test_order_without_data(evict: bool) -> None:
    text = """
#| step: migrate
print("tables made")
---
#| step: other
print("something else")
---
#| step: load
#| needs: migrate, other
rows = 1
"""
    driver = driven(text, evict)
    assert driver.run() == {"rows": 1}
    assert driver.executed[-1] == "load"


def test_a_step_may_need_one_further_down_the_page(evict: bool) -> None:
    text = """
#| step: load
#| needs: migrate
rows = 1
---
#| step: migrate
print("tables made")
"""
    driver = driven(text, evict)
    assert driver.run() == {"rows": 1}
    assert driver.executed == ["migrate", "load"]


def test_cells_may_await_and_their_text_is_untouched(evict: bool) -> None:
    text = '''
import asyncio
---
#| step: ask
await asyncio.sleep(0)
text = """first
    second
third"""
def shout():
    return text.upper()

loud = shout()
text
'''
    assert driven(text, evict).run()["loud"] == "FIRST\n    SECOND\nTHIRD"


def test_an_empty_map_and_a_skipped_map(evict: bool) -> None:
    text = """
#| params
items = [1]
go = True
---
#| step: double
#| map: items as item
#| when: go
twice = item * 2
"""
    assert driven(text, evict, items=[]).run() == {"twice": []}
    assert driven(text, evict, go=False).run() == {"twice": None}


def test_a_wait_before_a_map(evict: bool) -> None:
    text = """
#| step: load
rows = [1, 2]
by = 10
---
#| step: scale
#| map: rows as row
#| wait: factor
scaled = row * factor * by
"""
    driver = driven(text, evict)
    driver.send("factor", 3)
    assert driver.run() == {"scaled": [30, 60]}
