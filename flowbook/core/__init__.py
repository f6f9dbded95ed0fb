"""The pure heart: what can happen to a run, what it means, and what is due.

Nothing here does IO, reads a clock or draws an id; time and ids are arguments.
"""
