"""Which TLSA records count for mail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.dns import Tlsa
from mailserver.wire.tlsa import usable, written

SHA256, SHA512 = bytes(32), bytes(64)
SHORT, LONG = b"\x30\x03\x02\x01\x05", b"\x30\x82\x01\x00" + bytes(256)


@pytest.mark.parametrize("record", [
    Tlsa(3, 1, 1, SHA256), Tlsa(3, 0, 1, SHA256), Tlsa(2, 0, 2, SHA512), Tlsa(2, 1, 1, SHA256), Tlsa(3, 1, 0, SHORT),
    Tlsa(2, 0, 0, LONG),
])  # fmt: skip
def test_usable(record: Tlsa) -> None:
    assert usable([record]) == (record,)


@pytest.mark.parametrize("record", [
    Tlsa(0, 1, 1, SHA256), Tlsa(1, 1, 1, SHA256), Tlsa(4, 1, 1, SHA256), Tlsa(255, 1, 1, SHA256),
    Tlsa(3, 2, 1, SHA256), Tlsa(3, 1, 3, SHA256), Tlsa(3, 1, 1, SHA256[1:]), Tlsa(3, 1, 1, SHA512),
    Tlsa(3, 1, 2, SHA256), Tlsa(3, 1, 1, b""), Tlsa(3, 0, 0, b""), Tlsa(3, 0, 0, b"0"), Tlsa(3, 0, 0, SHORT + b"x"),
    Tlsa(3, 0, 0, SHORT[:-1]), Tlsa(2, 0, 0, b"\x30\x80" + bytes(10)), Tlsa(2, 0, 0, b"\x31" + SHORT[1:]),
])  # fmt: skip
def test_unusable(record: Tlsa) -> None:
    good = Tlsa(3, 1, 1, SHA256)
    assert usable([record]) == ()
    assert usable([record, good]) == (good,)


def test_a_pair_of_a_rollover_stays() -> None:
    pair = Tlsa(3, 1, 1, SHA256), Tlsa(3, 1, 1, b"x" * 32)
    assert usable(pair) == pair


def test_the_strongest_digest_of_each_kind_counts_beside_whole_ones() -> None:
    """RFC 7671 §9, with its example."""
    weak, strong, whole = Tlsa(3, 1, 1, SHA256), Tlsa(3, 1, 2, SHA512), Tlsa(3, 1, 0, SHORT)
    other = Tlsa(2, 0, 1, SHA256)
    assert usable([weak, strong, whole, other]) == (strong, whole, other)
    # One that is not whole takes nothing away.
    assert usable([weak, Tlsa(3, 1, 2, SHA256)]) == (weak,)


def test_as_in_a_zone_file() -> None:
    assert written([Tlsa(3, 1, 1, b"\x01\xab")]) == ("3 1 1 01AB",)


@given(st.lists(st.builds(Tlsa, st.integers(0, 5), st.integers(0, 3), st.integers(0, 4), st.binary(max_size=70))))
def test_usable_is_a_part_in_order_and_settles(records: list[Tlsa]) -> None:
    kept = usable(records)
    positions = iter(records)
    assert all(record in positions for record in kept)
    assert usable(kept) == kept
