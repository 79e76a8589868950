"""What a connection waits for; the ways from one to the other are at the heads of connection.py and streaming.py."""

from __future__ import annotations

from enum import Enum

__all__ = ["State"]


class State(Enum):
    """IDLE, SASL and TLS wait for what is no command; SKIP and SKIP_LINE throw a refused literal and line away."""

    COMMAND = 1
    HELD = 2
    DECIDE = 3
    STREAM = 4
    AFTER = 5
    SKIP = 6
    SKIP_LINE = 7
    IDLE = 8
    SASL = 9
    TLS = 10
    CLOSED = 11
    #: Between the parts of a message that is put together; waiting for a URL that is a literal.
    PARTS = 12
    URL = 13

    # Enum's own hash is Python code, and every event looks its state up.
    __hash__ = object.__hash__
