"""The same memory client as the command's tests."""

from tests.cli.conftest import client

__all__ = ["client"]
