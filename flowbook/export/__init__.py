"""Runs and graphs to take away and to look at: SVG, HTML, DOT, Mermaid. View dicts and ``core.graph`` values in.

The same pictures are drawn live by ``widgets/draw.js``; a test keeps both alike, character by character.
"""
