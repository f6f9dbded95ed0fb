"""Operations, sagas and promises."""

from typing import Any, assert_type

from flowbook import awakeable, operation, results, saga, shielded, step, workflow


@step
def create(size: str) -> str:
    return f"vm-{size}"


@step
def is_up(vm: str) -> bool:
    return True


@step
async def address(vm: str) -> dict[str, int] | None:
    return {vm: 1}


@step
def delete(vm: str) -> None:
    print("deleted", vm)


@workflow
async def provision(size: str = "small") -> str:
    assert_type(await operation(create, size, cancel=delete), str)
    assert_type(await operation(create, size, poll=is_up, every="10s", cancel=delete), str)
    assert_type(await operation(create, size, poll=address, timeout="5m"), dict[str, int])
    async with saga() as undoing:
        assert_type(await undoing.do(create, size, undo=delete), str)
        await undoing.register(delete, "vm-1")
    assert_type(await shielded(create(size)), str)
    token: str = awakeable("manager").token
    assert_type(await results(token=token), dict[str, Any])
    return await operation(create, size, poll=is_up)


async def wrong() -> None:
    vm = await operation(create, "small", poll=is_up)
    vm.keys()  # type: ignore[attr-defined]
    await operation(create, "small", every=[])  # type: ignore[call-overload]
