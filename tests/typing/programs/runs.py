"""Workflows as runs: started, awaited, and as children of others."""

from typing import assert_type

from flowbook import Run, get_run, workflow
from flowbook.runtime.children import ChildHandle


@workflow
async def cart(owner: str, size: int = 1) -> list[str]:
    return [owner] * size


@workflow(name="labelled")
async def labelled(id: str, name: str) -> str:
    return f"{id} {name}"


def outside() -> None:
    run = cart.start("ada")
    assert_type(run, Run[list[str]])
    assert_type(run.result(), list[str])
    assert_type(run.result("90s"), list[str])
    assert_type(run.latest, Run[list[str]])
    assert_type(cart.run("ada", size=3), list[str])
    assert_type(cart.start("ada", id="cart-of-ada", timeout="2h"), Run[list[str]])
    assert_type(cart.start("ada", attributes={"owner": "ada"}), Run[list[str]])
    assert_type(cart.options(id="cart-of-ada", queue="carts").start("ada", size=2), Run[list[str]])
    assert_type(cart.options(timeout=3).run("ada"), list[str])
    assert_type(labelled.options(id="run-1", name="the first").run(id="a", name="b"), str)
    get_run("cart-of-ada").signal("drop", "anvil").cancel("enough")


async def awaited() -> list[str]:
    return await cart.start("ada")


@workflow
async def shopping(owner: str) -> int:
    assert_type(await cart(owner), list[str])
    child = cart.start_child(owner, id="child", on_cancel="wait")
    assert_type(child, ChildHandle[list[str]])
    await child.signal("checkout")
    child.cancel()
    assert_type(await child, list[str])
    assert_type(await cart.start(owner), list[str])
    await get_run("other").signal("drop")
    return len(await cart.options(parent_close="abandon").start_child(owner, size=2))


def wrong() -> None:
    cart.start(3)  # type: ignore[call-overload]
    cart.start()  # type: ignore[call-overload]
    cart.run("ada", count=3)  # type: ignore[call-overload]
    cart.options(id="a").start(3)  # type: ignore[arg-type]
    cart.options(id="a").start()  # type: ignore[call-arg]
    cart.options(id=5)  # type: ignore[arg-type]
    cart.start("ada", timeout=[])  # type: ignore[call-overload]
    total: int = cart.run("ada")  # type: ignore[assignment]
    cart.start("ada").result().keys()  # type: ignore[attr-defined]
    print(total)
