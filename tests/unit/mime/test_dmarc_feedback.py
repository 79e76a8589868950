"""ATTACKS L14: aggregate reports as anybody may send them, read within bounds."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from mailserver.mime import dmarc_feedback
from mailserver.mime.attached import find_part
from mailserver.mime.dmarc_feedback import MAX_FEEDBACK, feedback_json, read_feedback
from mailserver.mime.packed_file import BadFile
from mailserver.plugins.aggregate_reports.dmarc_report.recognising import TYPES
from tests.helpers.dmarc_reports import EXAMPLE, zipped

VECTORS = Path(__file__).parents[2] / "vectors" / "dmarc"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("[01]*.[xe]ml")), ids=lambda path: path.name)
def test_reports_in_the_wild(path: Path) -> None:
    octets, expected = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    if path.suffix == ".eml":
        part = find_part(octets, TYPES)
        assert part is not None
        octets = part[1]
    found = read_feedback(octets)
    about, records = expected["report_metadata"], expected["record"]
    assert (found["organisation"], found["id"]) == (about["org_name"].strip(), about["report_id"])
    assert (found["begins"], found["domain"]) == (about["date_range"]["begin"], expected["policy_published"]["domain"])
    assert found["messages"] == sum(record["row"]["count"] for record in records)
    assert {row["source"] for row in found["rows"]} == {record["row"]["source_ip"] for record in records}


@pytest.mark.parametrize(
    "octets",
    [
        EXAMPLE, gzip.compress(EXAMPLE), zipped(("far.test!example.test!1!2.xml", EXAMPLE)),
        EXAMPLE.replace(b' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"', b""),
        EXAMPLE.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        EXAMPLE.replace(b"<feedback xmlns=", b"<d:feedback xmlns:d=").replace(b"</feedback>", b"</d:feedback>"),
        EXAMPLE.replace(b"</report_metadata>", b"</report_metadata><more><than>that</than></more>"),
    ],
)  # fmt: skip
def test_a_report(octets: bytes) -> None:
    found = read_feedback(octets)
    first, second = found.pop("rows")
    assert found == {
        "organisation": "Far Mail", "contact": "dmarc@far.test", "id": "1", "domain": "example.test", "p": "quarantine",
        "begins": 1799971200, "ends": 1800057599, "left": 0, "messages": 130, "failed": 7, "refused": 0,
        "quarantined": 7,
    }  # fmt: skip
    assert first == {
        "source": "192.0.2.123", "disposition": "pass", "dkim": "pass", "spf": "fail", "author": "example.test",
        "sender": "example.test", "sender_spf": "fail", "signers": ("example.test=pass",), "reasons": (), "count": 123,
    }  # fmt: skip
    assert (second["source"], second["reasons"], second["signers"]) == ("2001:db8::66", ("mailing_list",), ())


def test_equal_rows_are_one_and_the_largest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_feedback, "_MOST_ROWS", 10)
    monkeypatch.setattr(dmarc_feedback, "_MOST_SHOWN", 5)
    record = EXAMPLE[EXAMPLE.index(b"<record>") : EXAMPLE.index(b"</record>") + 9]
    rows = [record.replace(b"192.0.2.123", b"192.0.2.%d" % n).replace(b"123<", b"%d<" % (n + 1)) for n in range(20)]
    head, tail = EXAMPLE[: EXAMPLE.index(b"<record>")], b"</feedback>"
    found = read_feedback(head + b"".join(rows + rows) + tail)
    assert [row["count"] for row in found["rows"]] == [20, 18, 16, 14, 12]
    assert found["messages"] == 420 and found["left"] == 420 - 80


BILLION_LAUGHS = b'<!DOCTYPE feedback [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><feedback>&b;</feedback>'
OUTSIDE = b'<!DOCTYPE feedback SYSTEM "file:///etc/passwd"><feedback/>'


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (BILLION_LAUGHS, "DTD"),
        (OUTSIDE, "DTD"),
        (gzip.compress(b" " * (MAX_FEEDBACK + 1)), "more than 10000000"),
        (zipped(("a.xml", b" " * (MAX_FEEDBACK + 1))), "more than 10000000"),
        (zipped(("a.zip", zipped(("a.xml", EXAMPLE)))), "archive within"),
        (zipped(("a.xml.gz", gzip.compress(EXAMPLE))), "archive within"),
        (gzip.compress(gzip.compress(EXAMPLE)), "archive within"),
        (zipped(("a.xml", EXAMPLE), ("b.xml", EXAMPLE)), "2 files"),
        (zipped(), "0 files"),
        (gzip.compress(EXAMPLE)[:100], "cut off"),
        (zipped(("a.xml", EXAMPLE))[:100], "broken"),
        (b"PK\x03\x04", "broken"), (b"\x1f\x8b", "cut off"), (b"\x1f\x8bxxxxxxxxx", "not gzip"),
        (b"", "not XML"), (b"hello", "not XML"), (EXAMPLE[:300], "not XML"), (b"<html></html>", "no report"),
        (b"<feedback></feedback>", "of which domain"), (EXAMPLE.replace(b"example.test", b"a b"), "of which domain"),
        (EXAMPLE.replace(b"1799971200", b"0"), "of which time"),
        (EXAMPLE.replace(b"<count>", b"<count>x"), "no record"),
        (b"<feedback>" + b"<a>" * 30, "within each other"),
        (b"<feedback>" + b"<a/>" * 500_000, "more than 500000 elements"),
        (b"<feedback><" + b"a" * 300 + b"/></feedback>", "names without end"),
        (EXAMPLE.replace(b"UTF-8", b"x-unheard-of"), "not XML"),
    ],
)  # fmt: skip
def test_l14_what_is_no_report(octets: bytes, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        read_feedback(octets)
    assert words in json.loads(feedback_json(octets))["fault"]


def test_l14_encrypted_archives_and_odd_packing() -> None:
    octets = bytearray(zipped(("a.xml", EXAMPLE)))
    for at in (6, octets.rindex(b"PK\x01\x02") + 8):
        octets[at] |= 1
    with pytest.raises(BadFile, match="encrypted"):
        read_feedback(bytes(octets))
    assert zipfile.ZIP_LZMA not in (0, 8)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x.xml", "a\0.xml", "x" * 3000])
def test_l14_names_in_archives_mean_nothing(name: str) -> None:
    assert read_feedback(zipped((name, EXAMPLE)))["messages"] == 130


def test_texts_are_short_and_printable() -> None:
    found = read_feedback(EXAMPLE.replace(b"Far Mail", b"a&#10;b" * 500))
    assert found["organisation"].startswith("a?ba?b") and len(found["organisation"]) <= 200
