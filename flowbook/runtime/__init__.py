"""What workflow code runs on: the deterministic loop, its primitives, re-execution and frames.

Given its events, everything here is a function of them: no clock, no IO, no ids of its own.
"""
