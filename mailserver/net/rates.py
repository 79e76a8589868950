"""Counting per network and per name, in bounded memory."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache

from mailserver.net.networks import parse_ip
from mailserver.ports.clock import Clock

__all__ = ["SlidingCounter", "network_keys"]

_V4_PREFIXES = (32, 26, 21)
_V6_PREFIXES = (64, 48, 32)


@lru_cache(maxsize=4096)
def network_keys(peer: str) -> tuple[str, ...]:
    """The three networks of an IP address, narrow to wide: IPv4 /32 /26 /21, IPv6 /64 /48 /32. () for what is no IP."""
    address = parse_ip(peer)
    if address is None:
        return ()
    v4 = isinstance(address, ipaddress.IPv4Address)
    number, bits, mark = int(address), address.max_prefixlen, "" if v4 else "v6"
    prefixes = _V4_PREFIXES if v4 else _V6_PREFIXES
    return tuple(f"{number >> (bits - prefix):x}/{prefix}{mark}" for prefix in prefixes)


class SlidingCounter:
    """How much happened for a key within the last `window` seconds.

    Two neighbouring windows are kept and the older one counts by the share of it that is still within reach, so a limit
    cannot be had twice around the turn of a window. Beyond `max_keys` the key untouched for longest is forgotten.
    """

    def __init__(self, window: float, clock: Clock, max_keys: int = 65_536) -> None:
        self._window = window
        self._clock = clock
        self._max_keys = max_keys
        #: key → (number of the window, count in it, count in the one before).
        self._counts: OrderedDict[Hashable, tuple[int, int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, key: Hashable) -> float:
        """The present count."""
        number, current, previous, share = self._now(key)
        return current + previous * (1.0 - share) if number else 0.0

    def add(self, key: Hashable, amount: int = 1) -> None:
        """Count something."""
        number, current, previous, _ = self._now(key)
        self._counts[key] = (number, current + amount, previous)
        self._counts.move_to_end(key)
        if len(self._counts) > self._max_keys:
            self._counts.popitem(last=False)

    def _now(self, key: Hashable) -> tuple[int, int, int, float]:
        position = self._clock.monotonic() / self._window
        # Numbers start at 1, whatever the clock's zero is.
        number, share = int(position) + 1, position - int(position)
        then, current, previous = self._counts.get(key, (number, 0, 0))
        if then == number:
            return number, current, previous, share
        return number, 0, current if then == number - 1 else 0, share
