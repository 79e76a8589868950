"""For whom is a certificate (RFC 9525 §6.3)?"""

from __future__ import annotations

import pytest

from mailserver.outbound.names import name_fits


@pytest.mark.parametrize(
    ("presented", "name", "good"),
    [
        ("mx.far.test", "mx.far.test", True),
        ("MX.far.TEST.", "mx.Far.test", True),
        ("*.far.test", "mx.far.test", True),
        ("*.far.test", "far.test", False),
        ("*.far.test", "a.mx.far.test", False),
        ("*.far.test", ".far.test", False),
        ("m*.far.test", "mx.far.test", False),
        ("*x.far.test", "mx.far.test", False),
        ("mx.*.test", "mx.far.test", False),
        ("*.test", "far.test", False),
        ("*", "test", False),
        ("*.*.test", "mx.far.test", False),
        ("", "", False),
        ("far.test", "mx.far.test", False),
        ("mx.far.test", "mx.far.test.evil.test", False),
    ],
)
def test_a_name_fits(presented: str, name: str, good: bool) -> None:
    assert name_fits(presented, name) is good
