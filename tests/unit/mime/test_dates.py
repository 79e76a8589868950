from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.dates import format_date, parse_date, zone_offset

DAY = datetime.date(2026, 11, 20)


@pytest.mark.parametrize(
    ("raw", "epoch"),
    [
        (b"Fri, 20 Nov 2026 10:00:00 +0000", 1795168800),
        (b"20 Nov 2026 10:00 +0000", 1795168800),
        (b"Fri,20 nov 26 10:00:00 GMT", 1795168800),
        (b"Fri, 20 Nov 2026 12:30:00 +0230 (local (time))", 1795168800),
        (b"Fri, 20 Nov 2026 05:00:00 EST", 1795168800),
        (b"20-Nov-2026 10:00:00 Z", 1795168800),
        (b"Fri, 20\r\n Nov\r\n\t2026 10:00:00\r\n -0000", 1795168800),
        (b"Friday, 20 November 2026 10.00.00 XYZ", 1795168800),
        (b"Fri, 20 Nov 2026 10:00:60 +0000", 1795168860),
    ],
)
def test_dates(raw: bytes, epoch: int) -> None:
    assert parse_date(raw) == (epoch, DAY)


def test_the_day_is_that_of_the_senders_calendar() -> None:
    late = parse_date(b"Fri, 20 Nov 2026 23:30:00 -0800")
    assert late is not None and late.day == DAY
    assert format_date(late.epoch) == "Sat, 21 Nov 2026 07:30:00 +0000"


@given(st.integers(0, 4_000_000_000))
def test_what_we_write_we_read(epoch: int) -> None:
    found = parse_date(format_date(epoch).encode())
    assert found is not None and found.epoch == epoch


ALMOST = st.from_regex(rb"[A-Za-z,]{0,4} ?[0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} .{0,9}")


@given(st.one_of(st.binary(max_size=60), ALMOST))
def test_anything_is_a_date_or_none(raw: bytes) -> None:
    parse_date(raw)


def test_zones() -> None:
    dates = {
        b"Fri, 20 Nov 2026 11:00:00 +0130": 5400, b"Fri, 20 Nov 2026 11:00:00 EST": -18_000, b"20 Nov 2026 11:00": 0,
        b"Fri, 20 Nov 2026 11:00:00 +9900": 0, b"": 0, b"x" * 1000: 0,
    }  # fmt: skip
    assert {date: zone_offset(date) for date in dates} == dates
