"""The imperative shell: the clock, the socket, worker processes and the store, around the pure heart in ``core``.

It never runs user code and has never heard of a notebook. ``__main__`` is the only place that chooses classes.
"""
