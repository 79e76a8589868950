"""What goes out is one message with CRLF lines, whatever is kept (ATTACKS A06); what is clean goes out untouched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.errors import StorageFailure
from mailserver.outbound.content import _BLOCK, is_clean, outgoing
from tests.helpers.content import BytesContent

HEADER = b"Subject: x\r\n\r\n"


def mended(content: bytes) -> bytes:
    """The rule in its simplest form."""
    out = re.sub(rb"\r\n|\r|\n", b"\r\n", content.replace(b"\0", b""))
    return out if out.endswith(b"\r\n") else out + b"\r\n"


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b".", b"a", b"\r\n.\r\n", b"\xff"]), max_size=30))
def test_clean_is_what_mending_does_not_change(parts: list[bytes]) -> None:
    content = b"".join(parts)
    assert is_clean(content) == (mended(content) == content)


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b".", b"a", b"\r\n.\r\n"]), max_size=30),
    st.integers(0, 40), st.integers(1, 40),
)  # fmt: skip
async def test_small_content_is_mended(parts: list[bytes], start: int, size: int) -> None:
    content = b"".join(parts)
    made = await outgoing(BytesContent(content))
    assert made.head() == mended(content)
    assert made.size == len(mended(content))
    assert await made.read(start, size) == mended(content)[start : start + size]


@pytest.mark.parametrize("odd", [b"\r", b"\n", b"\0", b"\r\r\n", b"\n\r\n", b""])
@pytest.mark.parametrize("at", [5, _BLOCK - 2, _BLOCK - 1, _BLOCK, _BLOCK + 1])
async def test_large_content_is_mended_where_it_is_read(odd: bytes, at: int) -> None:
    line = b"0123456789abcdef\r\n" * 1
    whole = HEADER + line * (3 * _BLOCK // len(line))
    content = whole[:at] + odd + whole[at:] + b"no end"
    made = await outgoing(BytesContent(content, head_size=1000))
    expected = mended(content)
    assert made.size == len(expected)
    assert made.head() == expected[: 1 << 20]
    assert await made.read(0, made.size) == expected
    for start in (0, at - 3, at, at + 1, _BLOCK, 2 * _BLOCK + 7, made.size - 3, made.size):
        assert await made.read(start, 70_000) == expected[start : start + 70_000]


class Counted(BytesContent):
    octets = 0

    async def read(self, start: int, size: int) -> bytes:
        found = await super().read(start, size)
        self.octets += len(found)
        return found


async def test_clean_content_is_handed_on_as_it_is() -> None:
    small = HEADER + b"text\r\n"
    source = Counted(small)
    made = await outgoing(source)
    assert made.head() is small
    assert source.octets == 0
    large = HEADER + b"text\r\n" * 100_000
    source = Counted(large, head_size=1000)
    made = await outgoing(source)
    assert source.octets == len(large), "looked at once"
    assert await made.read(500_000, 10) == large[500_000:500_010]
    assert source.octets == len(large) + 10


async def test_fields_on_top() -> None:
    for content in (HEADER + b"text\r\n", HEADER + b"text\nmore", HEADER + b"text\r\n" * 100_000):
        made = (await outgoing(BytesContent(content, head_size=1000))).with_fields(b"A: b\r\n").with_fields(b"C: d\r\n")
        expected = b"C: d\r\nA: b\r\n" + mended(content)
        assert made.size == len(expected)
        assert made.head()[:1000] == expected[:1000]
        for start in range(15):
            assert await made.read(start, 20) == expected[start : start + 20]
        assert await made.read(0, made.size) == expected


@pytest.mark.parametrize(
    ("content", "eight_bit", "utf8_header"),
    [
        (HEADER + b"ascii", False, False),
        (HEADER + b"\xe9", True, False),
        ("Subject: é\r\n\r\nx".encode(), True, True),
        (b"Subject: \xe9\r\n\r\nx", True, False),
        ("Subject: é\r\n".encode(), True, True),
        (HEADER + b"x\r\n" * 100_000 + b"\xe9\r\n", True, False),
    ],
)
async def test_what_the_octets_are(content: bytes, eight_bit: bool, utf8_header: bool) -> None:
    made = await outgoing(BytesContent(content, head_size=1000))
    assert (made.eight_bit, made.utf8_header) == (eight_bit, utf8_header)


async def test_content_that_ends_early_is_not_sent() -> None:
    class Short(BytesContent):
        @property
        def size(self) -> int:
            return super().size + 1

    with pytest.raises(StorageFailure):
        await outgoing(Short(HEADER + b"text\r\n" * 100_000, head_size=1000))
