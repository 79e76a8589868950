"""The preview of a message (RFC 8970 §3): whose words, how many, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.html_text import html_text
from mailserver.mime.preview import PREVIEW_LENGTH, preview


def plain(text: str) -> str:
    return preview(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.replace("\n", "\r\n").encode())


def page(text: str) -> str:
    return preview(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + text.encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,\n\n  how  are\tyou?\n", "Hello, how are you?"),
        ("> old\n>> older\n\nMy answer.\n", "My answer."),
        ("Yes.\n\nOn Mon, 1 Jan 2024, Anna <a@b>\nwrote:\n\n> Shall we?\n> Or not?\n", "Yes."),
        ("Am Montag schrieb Anna:\n> Sollen wir?\nJa.\n", "Ja."),
        # A paragraph that ends with a colon is no introduction but for its last line.
        ("One\ntwo\nthree\nfour\nwrote:\n> x\n", "One two three four"),
        ("Not introduced.\n> x\n", "Not introduced."),
        ("> only\n> quoted\n", "only quoted"),
        ("Best regards\n-- \nAnna\nExample Ltd\n", "Best regards"),
        ("--\nAnna\n", "Anna"),
        ("Thanks!\n\n-----Original Message-----\nFrom: x\n\nold", "Thanks!"),
        ("Thanks!\n________________________________\nFrom: x\n\nold", "Thanks!"),
        ("---------- Forwarded message ---------\nFrom: x\n\nnews", "From: x news"),
        ("==========\nNews <https://x.example/a?b=c>\n* * *\n**********\nSale", "News * * * Sale"),
        ("a\u200b\u00a0\ufeff b\u00adc \u202egnp.exe", "a bc gnp.exe"),
        ("می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"),
        ("\n \u200b \n-----\n", ""),
        ("-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n", ""),
        ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSigned.\n-----BEGIN PGP SIGNATURE-----\nx\n", "Signed."),
    ],
)
def test_plain_text(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "<head><title>no</title></head><style>p {}</style><!-- no --><p>Hello&nbsp;<b>y</b>ou &amp; me<script>",
            "Hello you & me",
        ),
        ("one<br>two<td>three", "one two three"),
        ('Yes.<div class="gmail_quote">On Monday <blockquote>old</blockquote></div>', "Yes."),
        ('<div class="moz-cite-prefix">Am Montag:<br></div><blockquote>old</blockquote><p>new</p>', "new"),
        ("<blockquote>old</blockquote>", "old"),
        ("<BLOCKQUOTE>old<blockquote>x</blockquote>older</BLOCKQUOTE>new", "new"),
        ("<p>Sale&zwnj;&nbsp;&zwnj;&nbsp;&#8203;</p>", "Sale"),
        ("1 < 2 <3 and <", "1 < 2 <3 and <"),
        ("<head>never closed<p>text", "never closed text"),
        ("<style>never closed<p>text", ""),
        ("a<!-- never closed<p>text", "a"),
        ("a<?php ?><!DOCTYPE html></3>b<b", "ab"),
        ("&#99999999999;&#xD800;&bogus;&lt;b&gt;", "\ufffd&bogus;<b>"),
    ],
)
def test_html(source: str, expected: str) -> None:
    assert page(source) == expected


def test_charsets_and_transfer_encodings() -> None:
    head = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    assert preview(head + b"Gr=FC=DFe=\r\n aus") == "Grüße aus"
    assert preview(b"Content-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\nSGVsbG8=") == "Hello"


def multipart(kind: str, *parts: str) -> bytes:
    inner = "".join(f"--b\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/{kind}; boundary=b\r\n\r\n{inner}--b--\r\n".encode()


_PLAIN, _HTML = "Content-Type: text/plain\r\n\r\nplain", "Content-Type: text/html\r\n\r\n<p>page"
_ATTACHED = "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nattached"
_WITHIN = "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nwithin"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (multipart("alternative", _HTML, _PLAIN), "plain"),
        (multipart("mixed", _ATTACHED, _HTML), "page"),
        (multipart("mixed", "Content-Type: text/plain\r\n\r\n \r\n", _HTML), "page"),
        (multipart("mixed", _ATTACHED), ""),
        (multipart("mixed", _WITHIN, _PLAIN), "plain"),
        (multipart("mixed", "Content-Type: image/png\r\n\r\nx", _WITHIN), "within"),
        (
            multipart("encrypted", "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1",
                      "Content-Type: application/octet-stream\r\n\r\nxyz"),
            "",
        ),
        (b"Content-Type: application/pkcs7-mime\r\n\r\nMIAG", ""),
        (b"Content-Type: image/png\r\n\r\nx", ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_which_part(message: bytes, expected: str) -> None:
    assert preview(message) == expected


def test_length() -> None:
    assert plain("x" * 1000) == "x" * PREVIEW_LENGTH
    assert 190 < len(plain("word " * 500)) <= PREVIEW_LENGTH
    assert len(page("<p>ü</p>" * 5000)) <= PREVIEW_LENGTH


def test_html_is_read_no_further_than_needed() -> None:
    own, quoted = html_text("<p>ten words </p>" * 10_000, 600)
    assert 600 <= len(own) < 1500 and not quoted
    own, _ = html_text("<p>" * 100_000, 600)
    assert len(own) <= 5000


@given(st.text(st.sampled_from("<>/!-&#;x1 \n:>\"'pbdivstylehead\u200b\u200d\u00a0"), max_size=300))
def test_nothing_raises(text: str) -> None:
    for made in (plain(text), page(text)):
        assert len(made) <= PREVIEW_LENGTH and made == made.strip() and "\n" not in made
