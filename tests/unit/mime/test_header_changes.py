"""Fields put in, changed and taken away; all else stays as it was."""

from __future__ import annotations

import pytest

from mailserver.mime.header_changes import changed_header
from mailserver.model.verdict import HeaderChange

HEADER = b"A: one\r\nno field\r\nb:two\r\n  folded\r\na :  three\r\nC: \xff\r\n\r\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([HeaderChange("D", "x")], HEADER[:-2] + b"D: x\r\n\r\n"),
        ([HeaderChange("D", "  x\r\n\ty")], HEADER[:-2] + b"D:  x\r\n\ty\r\n\r\n"),
        ([HeaderChange("D", "x", position=0)], b"D: x\r\n" + HEADER),
        ([HeaderChange("D", "x", position=1)], b"A: one\r\nD: x\r\n" + HEADER[8:]),
        ([HeaderChange("D", "x", position=2)], HEADER.replace(b"a :", b"D: x\r\na :")),
        ([HeaderChange("D", "x", position=99)], HEADER[:-2] + b"D: x\r\n\r\n"),
        ([HeaderChange("A", "new", 2)], HEADER.replace(b"a :  three", b"A: new")),
        ([HeaderChange("A", None, 1)], HEADER[8:]),
        ([HeaderChange("A", None, 1), HeaderChange("A", None, 1)], HEADER[8:].replace(b"a :  three\r\n", b"")),
        ([HeaderChange("A", None, 3)], HEADER),
        ([HeaderChange("A", "new", 3)], HEADER[:-2] + b"A: new\r\n\r\n"),
        ([HeaderChange("B", "x", 1)], HEADER.replace(b"b:two\r\n  folded", b"B: x")),
        ([HeaderChange("D", "\udcff\u00fc")], HEADER[:-2] + b"D: \xff\xc3\xbc\r\n\r\n"),
        ([], HEADER),
    ],
)
def test_changes(changes: list[HeaderChange], expected: bytes) -> None:
    assert changed_header(HEADER, changes) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", b"D: x\r\n"),
        (b"\r\n", b"D: x\r\n\r\n"),
        (b"A: b", b"A: b\r\nD: x\r\n"),
        (b"A: b\n\n", b"A: b\nD: x\r\n\n"),
        (b"\xff\xfe\r\n\r\n", b"\xff\xfe\r\nD: x\r\n\r\n"),
    ],
)
def test_odd_headers(header: bytes, expected: bytes) -> None:
    assert changed_header(header, [HeaderChange("D", "x")]) == expected
    assert changed_header(header, []) == (header if header != b"A: b" else b"A: b\r\n")


@pytest.mark.parametrize(
    ("name", "value", "occurrence"),
    [
        ("", "x", 0), ("A B", "x", 0), ("A:", "x", 0), ("\u00c4", "x", 0), ("A", "x\r\nB: y", 0), ("A", "x\ny", 0),
        ("A", "x\ry", 0), ("A", "x\0", 0), ("A", "x\r\n \r\n y", 0), ("A", "x\r\n", 0), ("A", "x", -1),
    ],
)  # fmt: skip
def test_a13_what_would_make_fields_of_its_own_is_no_change(name: str, value: str, occurrence: int) -> None:
    with pytest.raises(ValueError, match=r"header|place"):
        HeaderChange(name, value, occurrence)
