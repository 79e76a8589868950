"""Names that are made to be taken for others (ATTACKS L16), and those that are not."""

from __future__ import annotations

import time

import pytest

from mailserver.mime.lookalikes import base_domain, looks_like, mixes_alphabets, readable_domain, skeleton, tricks


def a_labels(name: str) -> str:
    parts = (part if part.isascii() else f"xn--{part.encode('punycode').decode()}" for part in name.split("."))
    return ".".join(parts)


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        ("p\u0430yp\u0430l.com", "paypal.com"), ("\u0440\u0430\u0443\u0440\u0430\u04cf.com", "paypal.com"),
        ("paypa1.com", "paypal.com"), ("PAYPAI.com", "paypal.com"), ("g00gle.com", "google.com"),
        ("rnicrosoft.com", "microsoft.com"), ("vvikipedia.org", "wikipedia.org"), ("c\u03bfmpany.test", "company.test"),
        ("\uff50\uff41\uff59pal.com", "paypal.com"), ("p\u00e1yp\u00e0l.com", "paypal.com"), ("clropbox.com",
        "dropbox.com"),
        ("pay\u200bpal.com", "paypal.com"), ("\U0001d429\U0001d41aypal.com", "paypal.com"), ("payp\u0251l.com",
        "paypal.com"),
    ],
)  # fmt: skip
def test_the_same_to_the_eye(fake: str, real: str) -> None:
    assert skeleton(fake) == skeleton(real)
    assert looks_like(a_labels(fake.lower()), real) == "same"


@pytest.mark.parametrize(
    ("domain", "known", "how"),
    [
        ("examples.org", "example.org", "letter"), ("exmple.org", "example.org", "letter"),
        ("exanple.org", "example.org", "letter"), ("exmaple.org", "example.org", "letter"),
        ("mail.exmaple.org", "example.org", "letter"), ("example.or", "example.org", "letter"),
        ("example.org.evil.test", "example.org", "inside"), ("example.org-login.test", "example.org", "inside"),
        ("x.example.org.evil.test", "example.org", "inside"),
        # Others, and itself.
        ("example.org", "example.org", ""), ("mail.example.org", "example.org", ""), ("example.org",
        "mx.example.org", ""),
        ("example.com", "example.org", ""), ("other.org", "example.org", ""), ("far.test", "bar.test", ""),
        ("sample.org", "example.org", ""), ("myexample.org", "example.org", ""), ("ibm.test", "1bm.test", ""),
        ("", "example.org", ""), ("example.org", "", ""), ("test", "test", ""), ("x" * 5000, "example.org", ""),
    ],
)  # fmt: skip
def test_made_to_look_like(domain: str, known: str, how: str) -> None:
    assert looks_like(domain, known) == how


@pytest.mark.parametrize(
    ("domain", "base"),
    [
        ("a.b.example.org", "example.org"), ("example.org", "example.org"), ("org", "org"), ("a.example.co.uk",
        "example.co.uk"),
        ("co.uk", "co.uk"), ("example.com.au", "example.com.au"), ("www.t.co", "t.co"), ("a.com.com", "com.com"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_somebody_registered(domain: str, base: str) -> None:
    assert base_domain(domain) == base


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("p\u0430ypal.com", True), ("\u0430pple.com", True), ("c\u03bfmpany.test", True), ("example.org", False),
        ("b\u00fccher.test", False), ("\u043f\u043e\u0447\u0442\u0430.test", False), ("\u4f8b\u3048mail.test", False),
        ("xn--", False), ("xn--99999999.test", False),
    ],
)  # fmt: skip
def test_mixed_alphabets(domain: str, expected: bool) -> None:
    assert mixes_alphabets(domain) is mixes_alphabets(a_labels(domain)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna", ""), ("J\u00fcrgen", ""), ("\u202egpj.exe", "turned"), ("a\u202dx", "turned"), ("Pay\u200bPal",
        "unseen"),
        ("Pay\u00adPal", "unseen"), ("Pay\u200dPal", "unseen"), ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ""),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", ""), ("\u202a+49 30\u202c", ""), ("\u2067\u05d0\u2069", ""),
    ],
)  # fmt: skip
def test_tricks(text: str, expected: str) -> None:
    assert tricks(text) == expected


def test_domains_for_people() -> None:
    assert readable_domain("mail.xn--bcher-kva.test") == "mail.b\u00fccher.test"
    assert readable_domain("xn--a\x80.test") == "xn--a\x80.test"
    # Half a surrogate pair, which nothing can write down.
    assert readable_domain("xn--a-btb1873n.test") == "xn--a-btb1873n.test"


def test_work_is_bounded() -> None:
    """No text takes longer than its first 255 characters do."""
    begin = time.process_time()
    for text in ("\u0430" * 100_000, "rn" * 100_000, "xn--" + "z" * 100_000, "a." * 100_000, "\ufdfa" * 100_000):
        assert len(skeleton(text)) <= 255 * 18
        looks_like(text, "example.org")
        looks_like("example.org", text)
    assert time.process_time() - begin < 5
