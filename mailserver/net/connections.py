"""Who may connect: caps and rates per network over all listeners (as mox has them: address, block, provider).

A user of this machine, who comes over a Unix socket, has the cap of one address, and no rate: a script may well run a
program a thousand times in a row.
"""

from __future__ import annotations

import ipaddress
import os
import resource

from mailserver.net.networks import NetworkSet, parse_ip
from mailserver.net.settings import LimitsSettings
from mailserver.net.unix import our_peers
from mailserver.ports.clock import Clock, SystemClock

__all__ = ["ConnectionTable"]

_V4_SHIFTS = (0, 32 - 26, 32 - 21)
_V6_SHIFTS = (128 - 64, 128 - 48, 128 - 32)
_WINDOW = 60.0
_PRUNE_ABOVE = 30_000
#: Below so many open files our own are a share that matters; they are counted again after so many seconds.
_MANY_FILES, _MEASURE = 2048, 1.0

_Key = tuple[int, int, int]  # IP version, which of the three networks, its number


class _Network:
    __slots__ = ("active", "recent", "window")

    def __init__(self) -> None:
        self.active = 0
        self.recent = 0
        self.window = float("-inf")


class ConnectionTable:
    """Counts connections. Trusted peers are counted in the total only, and admitted while files can be opened."""

    def __init__(self, limits: LimitsSettings, clock: Clock | None = None) -> None:
        self._limits = limits
        self._clock = clock or SystemClock()
        self._trusted = NetworkSet(limits.trusted)
        self._ours = our_peers()
        self._networks: dict[_Key, _Network] = {}
        self.total = 0
        self._others = (1 << 30, 1 << 30)
        self._measure_again = float("-inf")

    def update(self, limits: LimitsSettings) -> None:
        """Other limits for new connections. `trusted` stays: what was counted must be given back by the same rule."""
        self._limits = limits

    def trusted(self, peer: str) -> bool:
        """Is this address in `limits.trusted`, or is it our own user or root on this machine?"""
        return peer in self._ours or peer in self._trusted

    def admit(self, peer: str) -> str | None:
        """Count a new connection; None, or the reason why it is refused (then it is not counted)."""
        if self.total >= self._capacity():
            return "too many connections"
        if self.trusted(peer):
            self.total += 1
            return None
        if peer.startswith("uid:"):
            return self._admit_user(peer)
        entries = [self._entry(key) for key in _keys(peer)]
        now = self._clock.monotonic()
        for entry, cap, rate in zip(
            entries, self._limits.connections_per_network, self._limits.connection_rate, strict=False
        ):
            if now - entry.window >= _WINDOW:
                entry.window, entry.recent = now, 0
            if entry.active >= cap:
                return "too many connections from your network"
            if entry.recent >= rate:
                return "too many new connections from your network"
        for entry in entries:
            entry.active += 1
            entry.recent += 1
        self.total += 1
        return None

    def _admit_user(self, peer: str) -> str | None:
        entry = self._entry(_keys(peer)[0])
        if entry.active >= self._limits.connections_per_network[0]:
            return "too many connections of yours"
        entry.active += 1
        self.total += 1
        return None

    def release(self, peer: str) -> None:
        """An admitted connection ended."""
        self.total -= 1
        if self.trusted(peer):
            return
        for key in _keys(peer):
            entry = self._networks.get(key)
            if entry is not None:
                entry.active -= 1

    def _capacity(self) -> int:
        if self._limits.connections_total:
            return self._limits.connections_total
        # Read every time: the limit can be raised while we run, and a full table of files breaks everything else first.
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return 1 << 30
        return soft * 4 // 5 if soft >= _MANY_FILES else self._scarce(soft)

    def _scarce(self, soft: int) -> int:
        """Where files are few, our own databases count: clients get two thirds of what these leave, and the rest is for
        the messages that they bring."""
        now = self._clock.monotonic()
        if now >= self._measure_again:
            self._measure_again = now + _MEASURE
            try:
                others = max(0, len(os.listdir("/proc/self/fd")) - 1 - self.total)
            except OSError:
                # Not one file is left to look with.
                others = soft - self.total
            self._others = (self._others[1], others)
        # The smaller of two: many connections that came at once, and were not counted yet, are not our own.
        return max(2, min(soft * 4 // 5, (soft - min(self._others)) * 2 // 3))

    def _entry(self, key: _Key) -> _Network:
        entry = self._networks.get(key)
        if entry is None:
            if len(self._networks) >= _PRUNE_ABOVE:
                self._prune()
            entry = self._networks[key] = _Network()
        return entry

    def _prune(self) -> None:
        now = self._clock.monotonic()
        self._networks = {
            key: entry for key, entry in self._networks.items() if entry.active or now - entry.window < _WINDOW
        }


def _keys(peer: str) -> tuple[_Key, ...]:
    if peer.startswith("uid:"):
        return ((0, 0, int(peer[4:])),)
    address = parse_ip(peer)
    if address is None:
        return ()
    number = int(address)
    shifts = _V4_SHIFTS if isinstance(address, ipaddress.IPv4Address) else _V6_SHIFTS
    return tuple((address.version, at, number >> shift) for at, shift in enumerate(shifts))
