"""HOLDFOR and HOLDUNTIL (RFC 4865)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.future_release import Hold, HoldLimit, extension, parse_hold
from mailserver.wire.smtp import BadArgument, parse_mail

#: 2026-11-20T20:00:00Z, for thirty days.
NOW = 1_795_204_800.0
LIMIT = HoldLimit(NOW, 2_592_000)


def test_what_ehlo_says() -> None:
    assert extension(LIMIT) == "FUTURERELEASE 2592000 2026-12-20T20:00:00Z"


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [
        ("HOLDFOR", "1", 1.0),
        ("HOLDFOR", "2592000", 2_592_000.0),
        ("HOLDUNTIL", "2026-11-20T20:00:01Z", 1.0),
        ("HOLDUNTIL", "2026-11-20t20:00:01.25z", 1.25),
        ("HOLDUNTIL", "2026-11-20T20:00:01.123456789+00:00", 1.123456),
        ("HOLDUNTIL", "2026-11-20T20:00:60-00:00", 60.0),
        ("HOLDUNTIL", "2026-12-20T20:00:00Z", 2_592_000.0),
        ("HOLDUNTIL", "2026-11-20T19:59:30Z", -30.0),
    ],
)
def test_holds(name: str, value: str, after: float) -> None:
    kind = "for" if name == "HOLDFOR" else "until"
    hold = parse_hold(name, value, LIMIT)
    assert hold.until == pytest.approx(NOW + after)
    assert hold.request == f"{kind};{value}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFOR", None), ("HOLDFOR", "0"), ("HOLDFOR", "01"), ("HOLDFOR", "+1"), ("HOLDFOR", "1.5"),
        ("HOLDFOR", "2592001"), ("HOLDFOR", "1000000000"), ("HOLDFOR", "\u0661"), ("HOLDUNTIL", None),
        ("HOLDUNTIL", "2026-11-20"), ("HOLDUNTIL", "2026-11-20T20:00:00"), ("HOLDUNTIL", "2026-11-20T20:00:00+01:00"),
        ("HOLDUNTIL", "2026-11-31T20:00:00Z"), ("HOLDUNTIL", "2026-11-20T24:00:00Z"),
        ("HOLDUNTIL", "2026-11-20T20:00:61Z"), ("HOLDUNTIL", "2026-11-20T19:58:00Z"),
        ("HOLDUNTIL", "2026-12-20T20:00:01Z"), ("HOLDUNTIL", "0000-00-00T00:00:00Z"),
        ("HOLDUNTIL", "9999-12-31T23:59:60Z"),
    ],
)  # fmt: skip
def test_what_is_not_taken(name: str, value: str | None) -> None:
    with pytest.raises(ValueError, match=name):
        parse_hold(name, value, LIMIT)


def test_as_parameters_of_mail() -> None:
    arguments = parse_mail(b"FROM:<x@far.test> HoldFor=60 SIZE=5", hold=LIMIT)
    assert (arguments.hold, arguments.size) == (Hold(NOW + 60, "for;60"), 5)
    for text in (b"HOLDFOR=60 HOLDUNTIL=2026-11-20T20:00:01Z", b"HOLDFOR=0", b"HOLDUNTIL"):
        with pytest.raises(BadArgument) as caught:
            parse_mail(b"FROM:<x@far.test> " + text, hold=LIMIT)
        assert caught.value.reply.code == 501 and caught.value.reply.status == "5.5.4"
    with pytest.raises(BadArgument) as caught:
        parse_mail(b"FROM:<x@far.test> HOLDFOR=60")
    assert caught.value.reply.code == 555


@given(st.sampled_from(["HOLDFOR", "HOLDUNTIL"]), st.one_of(st.none(), st.text(max_size=40)))
def test_nothing_but_value_errors(name: str, value: str | None) -> None:
    try:
        hold = parse_hold(name, value, LIMIT)
    except ValueError:
        return
    assert hold.until <= NOW + LIMIT.longest
