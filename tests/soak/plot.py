"""The soak's figures over time, in megabytes."""

from __future__ import annotations

from tests.soak.load import Log

MIB = 1024 * 1024


def plot(log: Log, path: str) -> None:
    """Draw them into a file; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes = [sample.at / 60 for sample in log.samples]
    figure, axis = pyplot.subplots(figsize=(7.5, 3.0))
    for name, colour, values in (
        ("engine's memory", "#4c6ef5", [sample.engine for sample in log.samples]),
        ("workers' memory", "#2b8a3e", [sample.workers for sample in log.samples]),
        ("database file", "#e8590c", [sample.database for sample in log.samples]),
        ("journal", "#862e9c", [sample.journal for sample in log.samples]),
    ):
        axis.plot(minutes, [value / MIB for value in values], color=colour, label=name, linewidth=1.5)
    axis.set_xlabel("minutes")
    axis.set_ylabel("MiB")
    axis.set_ylim(bottom=0)
    axis.grid(True, alpha=0.25)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
