"""LangGraph with its SQLite saver (WAL, synchronous=FULL), durability="sync": ``python langgraph_work.py FOLDER``."""

from __future__ import annotations

import asyncio
import operator
import os
import sys
from typing import Annotated, Any, TypedDict

from harness import measure
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class Counting(TypedDict):
    left: int


class Fanning(TypedDict):
    count: int
    done: Annotated[list[int], operator.add]


async def nothing(state: Counting) -> Counting:
    return {"left": state["left"] - 1}


async def item(state: Any) -> dict[str, list[int]]:
    return {"done": [state["x"]]}


async def main() -> None:
    async with AsyncSqliteSaver.from_conn_string(os.path.join(sys.argv[1], "langgraph.sqlite")) as saver:
        await saver.conn.execute("pragma journal_mode=wal")
        await saver.conn.execute("pragma synchronous=full")
        chain = StateGraph(Counting)
        chain.add_node("nothing", nothing)
        chain.add_edge(START, "nothing")
        chain.add_conditional_edges("nothing", lambda state: "nothing" if state["left"] > 0 else END)
        counting = chain.compile(checkpointer=saver)
        wide = StateGraph(Fanning)
        wide.add_node("item", item)
        wide.add_conditional_edges(
            START, lambda state: [Send("item", {"x": number}) for number in range(state["count"])], ["item"]
        )
        fanning = wide.compile(checkpointer=saver)

        def options(id: str) -> dict[str, Any]:
            return {"configurable": {"thread_id": id}, "recursion_limit": 5000, "max_concurrency": 1000}

        async def one(id: str, steps: int) -> Any:
            return await counting.ainvoke({"left": steps}, options(id), durability="sync")

        async def fan(id: str, steps: int) -> Any:
            return await fanning.ainvoke({"count": steps, "done": []}, options(id), durability="sync")

        await measure(one, fan)


asyncio.run(main())
