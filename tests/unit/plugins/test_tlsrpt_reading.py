"""Reports that others send, good and hostile ones; and the records that say where ours go."""

from __future__ import annotations

import copy
import gzip
import zlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.api import BadFile
from mailserver.plugins.aggregate_reports.tlsrpt import reading
from mailserver.plugins.aggregate_reports.tlsrpt.reading import read_message, read_octets
from mailserver.plugins.aggregate_reports.tlsrpt.record import own_record, read_records
from tests.helpers.tls_reports import EXAMPLE, mailed


def refused(octets: bytes) -> str:
    with pytest.raises(BadFile) as caught:
        read_octets(octets)
    return str(caught.value)


def changed(**fields: Any) -> dict[str, Any]:
    return copy.deepcopy(EXAMPLE) | {name.replace("_", "-"): value for name, value in fields.items()}


@pytest.mark.parametrize(("kind", "packed"), [("gzip", True), ("json", False)])
def test_the_example_of_the_rfc(kind: str, packed: bool) -> None:
    report = read_message(mailed(EXAMPLE, kind=kind, packed=packed))
    assert (report.organisation, report.contact) == ("Company-X", "sts-reporting@company-x.example")
    assert (report.begins, report.ends) == (1459468800, 1459468800 + 86399)
    (policy,) = report.parts
    facts = policy.facts
    assert (policy.domain, facts["type"], facts["good"], facts["bad"]) == ("company-y.example", "sts", 5326, 303)
    assert [(one["result"], one["count"]) for one in facts["failures"]] == [
        ("certificate-expired", 100), ("starttls-not-supported", 200), ("validation-failure", 3),
    ]  # fmt: skip
    assert facts["failures"][2]["reason"] == "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
    assert facts["failures"][1]["host"] == "mx2.mail.company-y.example"


@pytest.mark.parametrize("signer", ["company-x.example", "mail.company-x.example", "COMPANY-X.example"])
def test_its_reporter_signs(signer: str) -> None:
    assert read_message(mailed(EXAMPLE, signer=signer)).id == EXAMPLE["report-id"]


@pytest.mark.parametrize("signer", ["evil.test", "xcompany-x.example"])
def test_what_others_sign_is_ignored(signer: str) -> None:
    with pytest.raises(BadFile, match="not signed by its reporter"):
        read_message(mailed(EXAMPLE, signer=signer))


def test_an_unsigned_one_is_ignored() -> None:
    with pytest.raises(BadFile, match="not signed by its reporter"):
        read_message(mailed(EXAMPLE).replace(b"DKIM-Signature", b"X-Signature"))


def test_a_message_without_a_report() -> None:
    with pytest.raises(BadFile, match="there is no part"):
        read_message(b"Content-Type: multipart/report; report-type=tlsrpt\r\n\r\nHello\r\n")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._real = real(bits)

        def decompress(self, octets: bytes, most: int) -> bytes:
            found = self._real.decompress(octets, most)
            made.append(len(found))
            return found

        @property
        def eof(self) -> bool:
            return self._real.eof

    monkeypatch.setattr("mailserver.mime.packed_file.zlib.decompressobj", Watched)
    assert "more than 10000000 octets" in refused(gzip.compress(b" " * 50_000_000))
    assert made == [reading._MAX_UNPACKED + 1]


def test_what_would_be_large_in_memory_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orjson, "loads", lambda text: pytest.fail("it was parsed"))
    assert "more than 500000 values" in refused(gzip.compress(b"[" + b"[]," * 1_000_000 + b"[]]"))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        # Without the time: it would be in the names of the tests, and these must be the same in every process.
        (b"", "not JSON"),
        (b"not gzip", "not JSON"),
        (b"\x1f\x8bnot gzip", "not gzip"),
        (gzip.compress(b"{}", mtime=0)[:-3], "cut off"),
        (gzip.compress(b"[" * 100_000, mtime=0), "not JSON"),
        (gzip.compress(b"\xff\xfe", mtime=0), "not JSON"),
        (gzip.compress(b"[]", mtime=0), "not a JSON object"),
        (gzip.compress(b"{}", mtime=0), "no date-range"),
    ],
)
def test_nonsense(octets: bytes, words: str) -> None:
    assert words in refused(octets)


@pytest.mark.parametrize("moment", [None, 7, "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_that_are_none(moment: object) -> None:
    report = changed(date_range={"start-datetime": moment, "end-datetime": moment})
    assert "date-range" in refused(orjson.dumps(report))


def test_what_is_of_a_wrong_type_is_nothing() -> None:
    policy = {
        "policy": {"policy-type": ["sts"], "policy-domain": "Example.TEST"},
        "summary": {"total-successful-session-count": -1, "total-failure-session-count": 1e300},
        "failure-details": [
            7, {"result-type": {}}, {"result-type": ["x"]},
            {"result-type": "x\x1b[2J" + "y" * 1000, "failed-session-count": "3"},
        ],
    }  # fmt: skip
    report = read_octets(orjson.dumps(changed(policies=[None, 3, {}, policy], organization_name=5)))
    (found,) = report.parts
    facts = found.facts
    assert (found.domain, facts["type"], facts["good"], facts["bad"]) == ("example.test", "other", 0, 0)
    assert [one["result"][:6] for one in facts["failures"]] == ["", "x?[2Jy"]
    assert len(facts["failures"][1]["result"]) == 150 and report.organisation == ""


def test_many_policies_and_failures_are_cut_short() -> None:
    policy = copy.deepcopy(EXAMPLE["policies"][0])
    policy["failure-details"] *= 50
    report = read_octets(orjson.dumps(changed(policies=[policy] * 110)))
    assert (len(report.parts), len(report.parts[0].facts["failures"])) == (100, 20)


values = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=20) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
def test_any_json_is_answered(data: st.DataObject) -> None:
    """A report in which something is replaced by anything."""
    report: Any = copy.deepcopy(EXAMPLE)
    node = report
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(values)
            break
        node = node[key]
    try:
        text = orjson.dumps(report)
    except TypeError:  # integers of more than 64 bits
        return
    try:
        read_octets(text)
    except BadFile as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_any_octets_are_answered(octets: bytes) -> None:
    with pytest.raises(BadFile):
        read_message(mailed(octets))


# where ours go


def uris(*records: bytes) -> list[str]:
    return [target.uri for target in read_records(records)]


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (b"v=TLSRPTv1;rua=mailto:reports@example.com", ["mailto:reports@example.com"]),
        (b"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", ["https://reporting.example.com/v1/tlsrpt"]),
        (b"v=TLSRPTv1; rua=mailto:a@b.c , HTTPS://d.e/f ;", ["mailto:a@b.c", "https://d.e/f"]),
        (b"v=TLSRPTv1; x=y; rua=mailto:a@b.c; rua=mailto:d@e.f", ["mailto:a@b.c"]),
        (b"v=TLSRPTv1; rua=mailto:a@b.c?subject=x", ["mailto:a@b.c?subject=x"]),
        (
            b"v=TLSRPTv1; rua=" + b",".join(b"mailto:a%d@b.c" % n for n in range(9)),
            [f"mailto:a{n}@b.c" for n in range(4)],
        ),
        (b"v=TLSRPTv1; rua=http://d.e/,ftp://d.e,mailto:,mailto:nobody,https:///x,https://u@d.e/,https://d:x/", []),
        (b"v=TLSRPTv1; rua=mailto:a%0d%0ab@c.d,mailto:%ff@c.d,mailto:%c3%a9@c.d", []),
        (b"v=TLSRPTv1; nonsense; rua=mailto:a@b.c", []),
        (b"v=TLSRPTv1; rua=", []),
        (b"v=TLSRPTv1", []),
        (b"v=TLSRPTv2; rua=mailto:a@b.c", []),
        (b"v=tlsrptv1; rua=mailto:a@b.c", []),
    ],
)
def test_records(record: bytes, found: list[str]) -> None:
    assert uris(record) == found


def test_anything_but_one_record_is_none() -> None:
    """RFC 8460 §3."""
    record = b"v=TLSRPTv1; rua=mailto:a@b.c"
    assert uris(record, b"v=spf1 -all") == ["mailto:a@b.c"]
    assert uris() == uris(record, record) == []


def test_an_address_may_be_encoded() -> None:
    (target,) = read_records([b"v=TLSRPTv1; rua=mailto:a%2Bb@example.com"])
    assert str(target.address) == "a+b@example.com"
    name, text = own_record("example.test", "tls?x!y%z@example.test")
    assert name == "_smtp._tls.example.test"
    (target,) = read_records([text.encode()])
    assert str(target.address) == "tls?x!y%z@example.test"


@given(st.binary(max_size=300))
def test_any_record_is_read(octets: bytes) -> None:
    assert len(read_records([b"v=TLSRPTv1; rua=" + octets])) <= 4
