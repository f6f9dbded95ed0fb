"""What a status looks like: shape, word and colour family; and the style sheet of all pictures.

``widgets/draw.css`` begins with ``CSS`` and ``widgets/draw.js`` has the same tables; tests keep them alike.
"""

from __future__ import annotations

PALETTE = {
    "light": {"idle": "#3c3c3c", "running": "#1d4b88", "waiting": "#be7916", "done": "#1a917e", "failed": "#9f3925"},
    "dark": {"idle": "#7a7a7a", "running": "#3f8ceb", "waiting": "#f5cb66", "done": "#3fdfbd", "failed": "#c8552f"},
}
"""Fills and rings, never text. Told apart under normal and colour-blind vision; see the test before changing one."""

STATUSES = {
    "not reached": ("idle", "ring"),
    "queued": ("idle", "queued"),
    "skipped": ("idle", "skipped"),
    "cancelled": ("idle", "cancelled"),
    "running": ("running", "running"),
    "retrying": ("waiting", "retrying"),
    "waiting": ("waiting", "clock"),
    "paused": ("waiting", "paused"),
    "done": ("done", "done"),
    "succeeded": ("done", "done"),
    "reused": ("done", "reused"),
    "failed": ("failed", "failed"),
    "lost": ("failed", "lost"),
    "terminated": ("idle", "terminated"),
    "continued": ("done", "continued"),
    "open": ("waiting", "owed"),
    "kept": ("done", "done"),
    "undone": ("done", "undone"),
    "settled": ("done", "done"),
    "received": ("waiting", "clock"),
    "completed": ("done", "done"),
    "rejected": ("failed", "skipped"),
    "sending": ("running", "continued"),
    "sent": ("done", "continued"),
    "abandoned": ("idle", "skipped"),
}
"""Family and glyph of every status of a step, an attempt, a run, an obligation, an update or a signal sent."""

GLYPHS = {
    "ring": "",
    "queued": "M0 -5.5A5.5 5.5 0 0 1 5.5 0L0 0Z",
    "skipped": "M-4.5 4.5L4.5 -4.5",
    "cancelled": "M-3 -3H3V3H-3Z",
    "running": "M-2.6 -4.4L4.8 0L-2.6 4.4Z",
    "retrying": "M4.3 -2.4A4.9 4.9 0 1 0 4.9 1M4.9 -5.2V-1.9H1.6",
    "clock": "M0 -5V0.4L3.4 2.6",
    "hand": "M-3.4 0.6V-2.6M-1.2 0V-4.4M1 0V-4.6M3.2 0.4V-3.2M3.2 0.4C3.2 4.2 1.6 5 -0.2 5C-2.6 5 -3.6 3.4 -5.2 0.2",
    "paused": "M-2.2 -3.8V3.8M2.2 -3.8V3.8",
    "done": "M-4.6 0.4L-1.6 3.6L4.6 -3.6",
    "reused": "M-4.6 0.4L-1.6 3.6L4.6 -3.6",
    "failed": "M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5",
    "lost": "M-1.9 -2.2A2.1 2.1 0 1 1 0.6 0.2C0 0.5 0 1 0 1.8M0 4.4V4.5",
    "terminated": "M1 -5L-3.4 0.8H0.2L-1 5L3.4 -0.8H-0.2Z",
    "continued": "M-4.6 0H4.2M0.8 -3.4L4.4 0L0.8 3.4",
    "owed": "M0 -4.6V1.2M0 4.2V4.4",
    "undone": "M-4.3 -2.4A4.9 4.9 0 1 1 -4.9 1M-4.9 -5.2V-1.9H-1.6",
    "params": "M-4.6 -2.4H4.6M-4.6 2.4H4.6M-1.8 -4V-0.8M2 0.8V4",
}
"""Paths around (0, 0), in a circle of radius 10."""

SOLID = ("queued", "cancelled", "running", "terminated")
"""Glyphs that are filled and not stroked."""


def face(status: str) -> tuple[str, str]:
    """Family and glyph of a status; one that is not known is idle."""
    return STATUSES.get(status, ("idle", "ring"))


def _colours(scheme: str) -> str:
    families = " ".join(f"--fb-{name}: {colour};" for name, colour in PALETTE[scheme].items())
    dark = scheme == "dark"
    jupyter = {
        "text": ("--jp-ui-font-color0", "#e8e8e8" if dark else "#161616"),
        "muted": ("--jp-ui-font-color2", "#a8a8a8" if dark else "#616161"),
        "ground": ("--jp-layout-color0", "#111111" if dark else "#ffffff"),
        "card": ("--jp-layout-color1", "#1c1c1e" if dark else "#ffffff"),
        "soft": ("--jp-layout-color2", "#2a2a2d" if dark else "#f1f2f4"),
        "line": ("--jp-border-color1", "#4a4a4e" if dark else "#c9ccd1"),
    }
    rest = " ".join(f"--fb-{name}: var({variable}, {colour});" for name, (variable, colour) in jupyter.items())
    on, shade = ("#111", 0.42) if dark else ("#fff", 0.13)
    return f"color-scheme: {scheme}; {families} {rest} --fb-on: {on}; --fb-shade: {shade};"


_RULES = """\
.fb-picture { font-family: var(--jp-ui-font-family, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif);
  color: var(--fb-text); }
svg.fb-picture { display: block; max-width: 100%; height: auto; }
.fb-picture text { fill: var(--fb-text); font-size: 11px; }
.fb-picture .fb-ground { fill: var(--fb-ground); }
.fb-picture .fb-idle { --fb-family: var(--fb-idle); }
.fb-picture .fb-running { --fb-family: var(--fb-running); }
.fb-picture .fb-waiting { --fb-family: var(--fb-waiting); }
.fb-picture .fb-done { --fb-family: var(--fb-done); }
.fb-picture .fb-failed { --fb-family: var(--fb-failed); }
.fb-node { outline: none; }
.fb-card { fill: var(--fb-card); stroke: var(--fb-line); stroke-width: 1; }
.fb-shadow { fill: #000; opacity: var(--fb-shade); }
.fb-behind { fill: var(--fb-card); stroke: var(--fb-line); stroke-width: 1; }
.fb-node.fb-live .fb-card, .fb-node.fb-live .fb-behind { stroke: var(--fb-family); }
.fb-node.fb-running .fb-card { stroke-width: 2; }
.fb-node.fb-failed .fb-card { stroke-width: 2.5; }
.fb-node.fb-k-undo .fb-card { stroke-dasharray: 5 3; }
.fb-tint { fill: var(--fb-family); opacity: 0.07; }
.fb-node.fb-idle .fb-tint { opacity: 0; }
.fb-disc { fill: var(--fb-family); stroke: var(--fb-family); stroke-width: 1.5; }
.fb-ring2 { fill: none; stroke: var(--fb-family); stroke-width: 1.2; }
.fb-glyph { fill: none; stroke: var(--fb-on); stroke-width: 1.9; stroke-linecap: round; stroke-linejoin: round; }
.fb-glyph.fb-solid { fill: var(--fb-on); stroke-width: 0.8; }
.fb-idle > .fb-disc { fill: none; stroke-width: 1.3; }
.fb-idle > .fb-glyph { stroke: var(--fb-family); }
.fb-idle > .fb-glyph.fb-solid { fill: var(--fb-family); }
.fb-badge.fb-dashed > .fb-disc { stroke-dasharray: 3 2.4; }
.fb-spin { fill: none; stroke: var(--fb-family); stroke-width: 1.8; stroke-linecap: round; }
.fb-node.fb-later text.fb-name, .fb-node.fb-later text.fb-word { fill: var(--fb-muted); }
.fb-picture text.fb-name { font-size: 13px; font-weight: 600; }
.fb-picture text.fb-wires, .fb-picture text.fb-kind, .fb-picture text.fb-tick, .fb-picture text.fb-note {
  fill: var(--fb-muted); }
.fb-picture text.fb-kind { font-size: 10px; letter-spacing: 0.3px; }
.fb-picture text.fb-time { font-variant-numeric: tabular-nums; }
.fb-cell { fill: var(--fb-family); }
.fb-cell.fb-idle { fill: none; stroke: var(--fb-line); }
.fb-cell.fb-none { fill: var(--fb-soft); stroke: var(--fb-line); stroke-width: 0.8; }
.fb-mark { stroke: var(--fb-on); stroke-width: 1.3; fill: none; }
.fb-edge { fill: none; stroke: var(--fb-muted); stroke-width: 1.3; stroke-linecap: round; opacity: 0.55; }
.fb-edge.fb-passed { stroke: var(--fb-done); opacity: 0.9; stroke-width: 1.6; }
.fb-edge.fb-order { stroke-dasharray: 1.5 4; }
.fb-edge.fb-undo { stroke-dasharray: 6 4; }
.fb-node.fb-chosen .fb-card { stroke: var(--jp-brand-color1, #1976d2); stroke-width: 3; stroke-dasharray: none; }
.fb-node:focus-visible .fb-card { stroke: var(--jp-brand-color1, #1976d2); stroke-width: 3; }
.fb-track { fill: var(--fb-soft); stroke: var(--fb-line); stroke-width: 0.6; }
.fb-fill { fill: var(--fb-family); }
.fb-rowline { stroke: var(--fb-line); stroke-width: 1; opacity: 0.45; }
.fb-gridline { stroke: var(--fb-line); stroke-width: 1; opacity: 0.6; }
.fb-bar { fill: var(--fb-family); }
.fb-bar.fb-idle { fill: none; stroke: var(--fb-family); stroke-dasharray: 3 2; }
.fb-bar.fb-again { opacity: 0.72; }
.fb-hatch { stroke: var(--fb-waiting); stroke-dasharray: 2 3; opacity: 0.85; }
.fb-picture text.fb-barword { paint-order: stroke; stroke: var(--fb-ground); stroke-width: 4px; }
.fb-break { fill: var(--fb-ground); }
.fb-breakline { stroke: var(--fb-muted); stroke-width: 1; stroke-dasharray: 2 3; fill: none; }
.fb-nowline { stroke: var(--fb-running); stroke-width: 1.5; }
@media (prefers-reduced-motion: no-preference) {
  .fb-spin { stroke-dasharray: 18.8 8; animation: fb-spin 3s linear infinite; }
  @keyframes fb-spin { to { transform: rotate(360deg); } }
}
@media (forced-colors: active) {
  .fb-card, .fb-behind { stroke: CanvasText; }
  .fb-picture text { fill: CanvasText; }
}
"""

CSS = f"""\
.fb-picture {{ {_colours("light")} }}
@media (prefers-color-scheme: dark) {{ .fb-picture {{ {_colours("dark")} }} }}
[data-jp-theme-light="true"] .fb-picture, .vscode-light .fb-picture {{ {_colours("light")} }}
[data-jp-theme-light="false"] .fb-picture, .vscode-dark .fb-picture {{ {_colours("dark")} }}
{_RULES}"""
"""The style sheet of graphs and timelines. All names begin with ``fb-``."""
