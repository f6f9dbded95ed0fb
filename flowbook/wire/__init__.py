"""Bytes between processes: values, events, and the two protocols. Pure: no sockets, no files."""
