"""What goes wrong in a simulated world: on the wire, on the disk, and with processes. All of it drawn from the seed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from random import Random
from typing import Any

from flowbook.errors import StoreError
from flowbook.store.base import Group, Store
from flowbook.testing.network import End, Weather
from flowbook.testing.world import Process

_RUN = re.compile(rb'"run":"([^"]*)"')


@dataclass
class Climate:
    """How bad it is. Rates are per occasion, times in seconds; ``losses`` bounds how often something is lost at all.

    A step whose attempts are lost five times has failed, and a run that costs five workers is paused: both are tested
    elsewhere, so there are fewer losses than that here.
    """

    latency: float = 0.0
    start_delay: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    split: float = 0.0
    breaks: float = 0.0
    stall: float = 0.0
    refuse: float = 0.0
    crash: float = 0.0
    die_in_step: float = 0.0
    losses: int = 0
    refusals: int = 0
    kill_workers: tuple[float, ...] = ()
    kill_engines: tuple[float, ...] = ()
    jumps: tuple[tuple[float, float], ...] = ()
    """When the machine's clock is set, and by how much."""

    @property
    def calm(self) -> bool:
        return not (self.losses or self.refusals or self.latency or self.start_delay or self.jumps)


def draw_climate(random: Random) -> Climate:
    """A quarter of all worlds is calm; in the others each kind of trouble is there or not."""
    if random.random() < 0.25:
        return Climate(split=random.choice((0.0, 0.5)), reorder=random.choice((0.0, 0.5)))

    def maybe(*rates: float) -> float:
        return random.choice((0.0, *rates))

    def times() -> tuple[float, ...]:
        return tuple(sorted(random.choice((0.0, 0.01, 1.0, 10.0, 60.0, 4000.0)) + random.random() for _ in range(2)))

    def jumps() -> tuple[tuple[float, float], ...]:
        return tuple((at, random.choice((-3600.0, -5.0, 5.0, 3600.0))) for at in times())

    return Climate(
        latency=maybe(0.001, 0.2),
        start_delay=maybe(0.1, 2.0),
        duplicate=maybe(0.1, 0.5),
        reorder=maybe(0.5),
        split=maybe(0.1, 0.5),
        breaks=maybe(0.01, 0.1),
        stall=maybe(0.02),
        refuse=maybe(0.05, 0.3),
        crash=maybe(0.02, 0.1),
        die_in_step=maybe(0.1, 0.3),
        losses=random.randint(0, 4),
        refusals=random.choice((0, 0, 3)),
        kill_workers=times() if random.random() < 0.4 else (),
        kill_engines=times() if random.random() < 0.4 else (),
        jumps=jumps() if random.random() < 0.3 else (),
    )


class Trouble:
    """Decides, occasion by occasion; ``log`` says what happened, for whoever reproduces a seed.

    ``stalled`` is for how many seconds processes did nothing, all in all.
    """

    def __init__(self, climate: Climate, random: Random) -> None:
        self.climate = climate
        self.random = random
        self.losses = climate.losses
        self.refusals = climate.refusals
        self.stalled = 0.0
        self.log: list[str] = []

    def happens(self, rate: float) -> bool:
        return rate > 0 and self.random.random() < rate

    def loses(self, rate: float, what: str) -> bool:
        """Something is lost now."""
        if self.losses and self.happens(rate):
            self.losses -= 1
            self.log.append(what)
            return True
        return False

    def refuses(self, what: str) -> bool:
        if self.refusals and self.happens(self.climate.refuse):
            self.refusals -= 1
            self.log.append(f"refused: {what}")
            return True
        return False


class Storm(Weather):
    """The weather on the wire: late, in pieces, twice, in another order, or not at all."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.climate = trouble.climate

    def latency(self) -> float:
        climate = self.climate
        return self.trouble.random.random() * climate.latency if climate.latency else 0.0

    def carry(self, end: End, data: bytes) -> list[bytes]:
        trouble, climate = self.trouble, self.climate
        if trouble.happens(climate.stall):
            trouble.log.append(f"{end.owner.name} stalls")  # type: ignore[attr-defined]
            seconds = trouble.random.choice((0.5, 5.0))
            trouble.stalled += seconds
            end.owner.stalled = end.network.loop.now + seconds
        if trouble.loses(climate.breaks, "a connection breaks"):
            if trouble.random.random() < 0.5:
                end.sever()
                return []
            data = data[: trouble.random.randint(0, len(data))]
            end.network.loop.call_soon(end.sever)
            return [data] if data else []
        if climate.duplicate or climate.reorder:
            data = self._rearranged(data)
        if trouble.happens(climate.split) and len(data) > 1:
            cut = trouble.random.randint(1, len(data) - 1)
            return [data[:cut], data[cut:]]
        return [data]

    def _rearranged(self, data: bytes) -> bytes:
        """Whole frames, some of them twice, those of different runs in another order."""
        frames, rest = _frames(data)
        found: list[bytes] = []
        for frame in frames:
            found.append(frame)
            if self.trouble.happens(self.climate.duplicate) and _is_repeatable(frame):
                found.append(frame)
        if len(found) > 1 and self.trouble.happens(self.climate.reorder):
            found = self._reordered(found)
        return b"".join(found) + rest

    def _reordered(self, frames: list[bytes]) -> list[bytes]:
        lines: dict[bytes, list[bytes]] = {}
        for frame in frames:
            run = _RUN.search(frame[:200])
            if run is None:
                return frames
            lines.setdefault(run[1], []).append(frame)
        found = []
        while lines:
            run_id = self.trouble.random.choice(list(lines))
            found.append(lines[run_id].pop(0))
            if not lines[run_id]:
                del lines[run_id]
        return found


def _frames(data: bytes) -> tuple[list[bytes], bytes]:
    frames, at = [], 0
    while len(data) - at >= 4:
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        frames.append(data[at:end])
        at = end
    return frames, data[at:]


def _is_repeatable(frame: bytes) -> bool:
    """What may arrive twice because its sender was not answered: reports, and what clients ask."""
    return frame.startswith((b'{"type":"RunReport"', b'{"type":"TaskReport"', b'{"type":"Request"'), 4)


class Disk:
    """One engine's store: the same memory for all of them, through which nothing passes after the engine's death."""

    def __init__(self, store: Store, process: Process, trouble: Trouble) -> None:
        self._store = store
        self._process = process
        self._trouble = trouble

    def commit(self, group: Group) -> None:
        self._alive()
        trouble = self._trouble
        if trouble.refuses("a commit"):
            raise StoreError("the disk is full (injected)")
        if trouble.loses(trouble.climate.crash, "engine dies before a commit"):
            self._die()
        self._store.commit(group)
        if trouble.loses(trouble.climate.crash, "engine dies after a commit"):
            self._die()

    def history(self, *args: Any, **options: Any) -> list[bytes]:
        self._alive()
        if self._trouble.refuses("reading a history"):
            raise StoreError("the disk cannot be read (injected)")
        return self._store.history(*args, **options)

    def __getattr__(self, name: str) -> Any:
        self._alive()
        return getattr(self._store, name)

    def _alive(self) -> None:
        if not self._process.alive:
            raise asyncio.CancelledError("a process that was killed does nothing")

    def _die(self) -> None:
        self._process.kill()
        self._alive()
