"""The process that runs user code: workflow code from its events, and the attempts of its steps.

It keeps nothing the engine cannot rebuild. Decisions are the engine's; the deterministic part is ``runtime``'s.
"""
