"""The features of a message: what is taken, what is left, and that hostile input gives no more than its bound."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime import view
from mailserver.mime.features import Features, features
from mailserver.mime.structure import Part
from mailserver.mime.text import part_text


def words(found: Features, place: str = "") -> list[str]:
    return dict(found.texts)[place]


def message(body: str, head: str = "", kind: str = "text/plain") -> bytes:
    return f"{head}MIME-Version: 1.0\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD: it's $99 off!! 100% (free).", ["hello", "world", "it's", "$99", "off!!", "100%", "free"]),
        ("ﬁne 𝐅𝐑𝐄𝐄 v\u200bi\u00ada\u2060gra", ["fine", "free", "viagra"]),
        ("Straße naïve Привет", ["straße", "naïve", "привет"]),
        ("日本語 テスト 한국", ["日", "本", "語", "テ", "ス", "ト", "한", "국"]),
        ("x" * 25 + " " + "y" * 60, ["xx… 2", "yy… 6"]),
        ("___ --- ... \x00\x01", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(features(message(text))) == expected


def test_header() -> None:
    found = features(
        message(
            "x",
            "Received: from mail.shop.example (x [192.0.2.77])\r\n by us; now\r\n"
            "Received: from inner (y [IPv6:2001:db8:1::2])\r\n by them; now\r\n"
            "From: =?utf-8?q?Big_Sale?= <Offers@news.shop.example>\r\nReply-To: other@elsewhere.example\r\n"
            "Subject: =?utf-8?b?" + base64.b64encode("Grüße, Anna".encode()).decode() + "?=\r\n"
            "Message-ID: <20021120.AbC-77@x>\r\nX-Mailer: MassSender 2.0\r\nList-Id: Offers <offers.shop.example>\r\n",
        )
    )
    assert words(found, "subject") == ["grüße", "anna"]
    assert words(found, "from") == ["big", "sale"]
    assert {
        "from offers@news.shop.example", "from news.shop.example", "from shop.example", "reply-to elsewhere.example",
        "relay mail.shop.example", "relay shop.example", "relay 192.0", "relay 192.0.2", "relay inner",
        "relay 2001:db8", "program masssender", "list offers <offers.shop.example>", "id <9.AaA-9", "has message-id",
        "without date", "without to", "part text/plain", "charset utf-8",
    } <= found.marks  # fmt: skip


def test_dates_and_addressees_are_not_taken() -> None:
    head = "Date: {0}\r\nTo: {0}\r\nCc: {0}\r\nDelivered-To: {0}\r\nX-Spam-Status: {0}\r\nSubject: a\r\n"
    assert features(message("x", head.format("one"))) == features(message("x", head.format("other")))


def test_html_gives_what_is_read_and_where_links_lead() -> None:
    found = features(
        message(
            "<style>hidden</style><p>Click <b>he</b>re</p><!-- secret --><a href='https://u@Buy.Shop.example:8/now.php?id=7'>x"
            "</a><img src=http://192.0.2.1/a.gif><a href=mailto:me@away.example>m</a>",
            kind="text/html",
        )
    )
    assert words(found) == ["click", "here", "x", "m"]
    assert {
        "link buy.shop.example", "link shop.example", "link word now.php", "link word id", "link 192.0.2.1",
        "link to an address", "link away.example",
    } <= found.marks  # fmt: skip


def test_structure() -> None:
    found = features(
        b"Content-Type: multipart/mixed; boundary=\"----=_Part12\"\r\n\r\n------=_Part12\r\n"
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"in base64")
        + b"\r\n------=_Part12\r\nContent-Type: application/zip; name=x.PDF.Exe\r\n\r\nno words\r\n------=_Part12--\r\n"
    )  # fmt: skip
    assert words(found) == ["in", "base64"]
    assert {
        "part multipart/mixed", "boundary ----=_Aa9", "part text/plain base64", "part application/zip", "file exe"
    } <= found.marks


def test_a_million_words_are_no_more_than_some_thousands() -> None:
    flood = " ".join(f"w{i}" for i in range(1_000_000))
    links = " ".join(f"http://h{i}.example/{'a/b/c/d/e/f/g/h' * 3}" for i in range(5000))
    head = "".join(f"Reply-To: a@h{i}.example\r\nReceived: from h{i}.example\r\n" for i in range(400))
    for body in (flood, links, links + flood):
        for kind in ("text/plain", "text/html"):
            found = features(message(body, f"Subject: {flood[:5000]}\r\nFrom: {flood[:5000]}\r\n{head}", kind))
            assert sum(len(one) for _, one in found.texts) <= 3120
            assert len(found.marks) <= 1200


def test_no_more_text_is_decoded_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = 0

    def counted(buf: bytes, part: Part, limit: int | None = None) -> str:
        nonlocal octets
        text = part_text(buf, part, limit)
        octets += len(text)
        return text

    monkeypatch.setattr(view, "part_text", counted)
    parts = "".join(f"--b\r\nContent-Type: text/html\r\n\r\n{'<p>' * 30_000}\r\n" for _ in range(40))
    features(f"Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n".encode())
    assert 0 < octets <= 128 << 10


@given(
    st.binary(max_size=600), st.sampled_from([b"", b"Content-Type: text/html\r\n\r\n", b"From: ", b"Received: from "])
)
def test_nothing_raises(octets: bytes, start: bytes) -> None:
    found = features(start + octets)
    assert all(isinstance(word, str) for _, one in found.texts for word in one)


def test_a_message_on_its_way_has_the_features_that_it_is_learned_with() -> None:
    # What is learned is read from a mailbox, with our Received field on top, and only its first 256 KiB.
    large = "".join(f"--b\r\nContent-Type: text/plain\r\n\r\n{word * 9000}\r\n" for word in ("one ", "two ", "six "))
    file = f"--b\r\nContent-Type: image/png\r\n\r\n{'x' * 200_000}\r\n"
    own = b"Received: from old.test ([192.0.2.1])\r\n"
    mail = own + f"Content-Type: multipart/mixed; boundary=b\r\n\r\n{file}{large}--b--\r\n".encode()
    hop = b"from mx.far.test ([198.51.100.7])"
    kept = b"Received: " + hop + b"\r\n\tby us\r\n" + mail
    coming, learned = features(mail, hop), features(kept[: 256 << 10])
    assert coming.marks == learned.marks and {"relay 198.51", "relay 192.0"} <= coming.marks
    assert words(coming)[:1000] == words(learned)[:1000]


def test_only_four_hops_count() -> None:
    head = "".join(f"Received: from host ([10.{number}.0.1])\r\n" for number in range(5))
    found = features(message("x", head), b"from host ([192.0.2.1])").marks
    assert "relay 192.0" in found and "relay 10.2" in found and "relay 10.3" not in found
