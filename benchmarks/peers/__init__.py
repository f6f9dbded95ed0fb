"""Other durable engines, doing the same work on the same machine."""
