"""The curves as small pictures side by side: size along, both axes logarithmic, one line for each figure."""

from __future__ import annotations

from typing import Any

SHOWN: dict[str, tuple[str, list[str]]] = {
    "runs": ("ended runs in the file", ["W4 p50 ms", "list of runs ms", "sql: runs by status ms"]),
    "sleepers": ("open runs", ["W4 p50 ms", "cold start s", "back after SIGKILL s"]),
    "history": ("events in one history", ["a step more ms", "view at half ms", "frames at half ms"]),
    "fan_out": ("steps side by side", ["steps/s"]),
    "map_items": ("items of a map", ["items/s"]),
    "payload": ("KiB of a value", ["ms a value", "MiB/s"]),
    "latency": ("percent of capacity", ["p50 ms", "p90 ms", "p99 ms", "p99.9 ms"]),
}
"""What is drawn of each curve."""

COLOURS = ("#4c6ef5", "#e8590c", "#2b8a3e", "#862e9c")


def plot(found: dict[str, list[dict[str, float]]], path: str) -> None:
    """Draw what was measured into a file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in SHOWN if found.get(name)]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.4 * columns, 2.9 * rows), squeeze=False)
    for index, name in enumerate(names):
        _draw(axes[index // columns][index % columns], name, found[name])
    for index in range(len(names), rows * columns):
        axes[index // columns][index % columns].axis("off")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def _draw(axis: Any, name: str, points: list[dict[str, float]]) -> None:
    along, figures = SHOWN[name]
    x = next(iter(points[0]))
    for figure, colour in zip(figures, COLOURS, strict=False):
        axis.plot([p[x] for p in points], [p[figure] for p in points], "o-", color=colour, label=figure, markersize=4)
    axis.set_title(along, fontsize=10)
    if name != "latency":
        axis.set_xscale("log")
    axis.set_yscale("log")
    axis.grid(True, which="major", alpha=0.25)
    axis.legend(fontsize=7, frameon=False)
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
