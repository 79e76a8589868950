"""Smarthosts: whose mail goes there, and how we log in."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result
from mailserver.outbound.settings import SmarthostSettings
from mailserver.outbound.smarthosts import Credentials, Smarthosts
from mailserver.wire.sasl import ScramServer, make_verifier
from tests.helpers.authority import Issued, issue
from tests.helpers.receiver import Receiver
from tests.helpers.sending import MESSAGE, job, make_sender

USER, PASSWORD = "example-org", "pässword"


def smarthost(**changes: Any) -> SmarthostSettings:
    return SmarthostSettings(**({"host": "smtp.far.test:587"} | changes))


def test_whose_mail_goes_where() -> None:
    hosts = Smarthosts({
        "anna": smarthost(host="anna.test:587", senders=["Anna@example.test"]),
        "domain": smarthost(host="domain.test:587", senders=["EXAMPLE.test", "grün.test"]),
        "rest": smarthost(host="[2001:db8::1]:465"),
    })  # fmt: skip

    def name(sender: str) -> str:
        found = hosts.for_sender(EmailAddress.parse(sender) if sender else None)
        assert found is not None
        assert found.smarthost
        return found.smarthost

    senders = ("anna@example.test", "bert@example.test", "a@GRÜN.test", "x@far.test", "")
    assert [name(text) for text in senders] == ["anna", "domain", "domain", "rest", "rest"]
    found = hosts.for_sender(None)
    assert found is not None
    assert (found.name, found.hosts) == ("[2001:db8::1]:465", (("2001:db8::1", 465),))


def test_nobody_is_named_and_nobody_goes() -> None:
    hosts = Smarthosts({"anna": smarthost(senders=["anna@example.test"])})
    assert hosts.for_sender(EmailAddress.parse("bert@example.test")) is None
    assert hosts.for_sender(None) is None
    assert Smarthosts({}).for_sender(EmailAddress.parse("bert@example.test")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "smtp.far.test"}, {"host": "smtp.far.test:0"}, {"host": "a b:25"}, {"senders": ["no one"]},
        {"user": "x"}, {"user": "x", "password_file": "p", "tls": "none"}, {"tls": "maybe"}, {"port": 25},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        smarthost(**changes)


def test_a_password_is_in_no_repr() -> None:
    assert PASSWORD not in repr(Credentials(USER, PASSWORD))


def plain(line: bytes) -> bytes:
    """The server's side of AUTH PLAIN."""
    good = line == b"AUTH PLAIN " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
    return b"235 2.7.0 Welcome\r\n" if good else b"535 5.7.8 Wrong\r\n"


@pytest.fixture
def root() -> Issued:
    return issue(authority=True)


class Setup:
    """A smarthost with a certificate, and a sender that uses it."""

    def __init__(self, directory: Path, root: Issued, password: str = PASSWORD, **changes: Any) -> None:
        self.directory, self.root, self.changes = directory, root, changes
        self.secret = directory / "password"
        self.secret.write_text(f"{password}\r\n", encoding="utf-8")
        self.context = issue("smtp.far.test", by=root).server_context(directory)

    async def send(self, mx: Receiver, **arguments: Any) -> Result:
        settings = smarthost(**({
            "host": f"smtp.far.test:{mx.port}", "user": USER, "password_file": str(self.secret),
            "ca_file": self.root.write_ca(self.directory),
        } | self.changes))  # fmt: skip
        smarthosts = Smarthosts({"provider": settings})
        destination = smarthosts.for_sender(None)
        assert destination is not None
        async with make_sender(Hooks(), smarthosts=smarthosts) as made:
            (result,) = (await made.deliver(job(destination=destination, **arguments))).results
        return result


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_plain_over_verified_tls(tls: str, tmp_path: Path, root: Issued) -> None:
    setup = Setup(tmp_path, root, tls=tls)
    async with Receiver(
        features=(), tls_features=("AUTH PLAIN LOGIN", "PIPELINING"), tls=setup.context, implicit_tls=tls == "implicit",
        answers={"AUTH": plain},
    ) as mx:  # fmt: skip
        result = await setup.send(mx)
    assert (result.outcome, result.policy) == (Outcome.DELIVERED, "configuration")
    assert mx.messages[0].tls
    assert mx.verbs() == [
        *(["EHLO", "STARTTLS"] if tls == "starttls" else []), "EHLO", "AUTH", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"
    ]  # fmt: skip


async def test_scram_is_preferred_and_the_server_is_proved(tmp_path: Path, root: Issued) -> None:
    server = ScramServer(b"servernonce-servernonce-1")
    verifier = make_verifier(PASSWORD, b"saltsalt", 4096)

    def auth(line: bytes) -> bytes:
        message = base64.b64decode(line.split(b" ")[2])
        assert server.receive_first(message) == USER
        return b"334 " + base64.b64encode(server.challenge(verifier)) + b"\r\n"

    def other(line: bytes) -> bytes:
        if line == b"":
            return b"235 2.7.0 Welcome\r\n"
        return b"334 " + base64.b64encode(server.receive_final(base64.b64decode(line))) + b"\r\n"

    async with Receiver(
        tls_features=("AUTH PLAIN SCRAM-SHA-256",), tls=Setup(tmp_path, root).context,
        answers={"AUTH": auth, "OTHER": other},
    ) as mx:  # fmt: skip
        result = await Setup(tmp_path, root).send(mx)
    assert result.outcome is Outcome.DELIVERED, result


async def test_login_is_asked_for_both(tmp_path: Path, root: Issued) -> None:
    got: list[bytes] = []

    def other(line: bytes) -> bytes:
        got.append(base64.b64decode(line))
        return b"334 UGFzc3dvcmQ6\r\n" if len(got) == 1 else b"235 Welcome\r\n"

    async with Receiver(
        tls_features=("AUTH LOGIN",), tls=Setup(tmp_path, root).context,
        answers={"AUTH": b"334 VXNlcm5hbWU6\r\n", "OTHER": other},
    ) as mx:  # fmt: skip
        result = await Setup(tmp_path, root).send(mx)
    assert result.outcome is Outcome.DELIVERED
    assert got == [USER.encode(), PASSWORD.encode()]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"535 5.7.8 Wrong password\r\n", "535 5.7.8 Wrong password"), (b"250 2.0.0 Ok\r\n", "250"),
        (b"334 !!!\r\n", "base64"), (b"334 \r\n", "asks on"),
    ],
)  # fmt: skip
async def test_a_login_that_fails_is_our_own_affair(
    answer: bytes, words: str, tmp_path: Path, root: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(tmp_path, root)
    async with Receiver(tls_features=("AUTH PLAIN",), tls=setup.context, answers={"AUTH": answer}) as mx:
        result = await setup.send(mx)
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.7.8")
    assert words in result.reply
    assert "MAIL" not in mx.verbs()
    out = capsys.readouterr()
    secret = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    assert PASSWORD not in out.out + out.err
    assert secret not in out.out + out.err


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_server_that_says_the_password_back_tells_it_to_nobody(
    mechanism: str, tmp_path: Path, root: Issued, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it says goes into the log, into the history and into reports (ATTACKS N03)."""
    setup = Setup(tmp_path, root)

    def echo(line: bytes) -> bytes:
        if line == b"AUTH LOGIN" or line == base64.b64encode(USER.encode()):
            return b"334 UGFzc3dvcmQ6\r\n"
        return b"535 5.7.8 No: " + line + b" is " + PASSWORD.encode() + b"\r\n"

    answers: Any = {"AUTH": echo, "OTHER": echo}
    async with Receiver(tls_features=(f"AUTH {mechanism}",), tls=setup.context, answers=answers) as mx:
        result = await setup.send(mx)
    assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.7.8")
    assert "535 5.7.8" in result.reply
    captured = capsys.readouterr()
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(),
                   base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()):  # fmt: skip
        assert secret not in result.reply + captured.out + captured.err


async def test_a_server_without_a_mechanism_that_we_know(tmp_path: Path, root: Issued) -> None:
    setup = Setup(tmp_path, root)
    async with Receiver(tls_features=("AUTH GSSAPI",), tls=setup.context) as mx:
        result = await setup.send(mx)
    assert result.status == "4.7.8"
    assert "it offers GSSAPI" in result.reply


@pytest.mark.parametrize("kind", ["name", "authority", "no tls"])
@pytest.mark.parametrize("content", [MESSAGE, b"TLS-Required: No\r\n" + MESSAGE])
async def test_the_password_goes_nowhere_else(kind: str, content: bytes, tmp_path: Path, root: Issued) -> None:
    """Whatever a message says of the TLS that it needs (RFC 8689 §3)."""
    setup = Setup(tmp_path, root)
    shown = {"name": issue("other.test", by=root), "authority": issue("smtp.far.test", by=issue(authority=True))}
    context = shown[kind].server_context(tmp_path) if kind in shown else None
    async with Receiver(features=("AUTH PLAIN",), tls=context) as mx:
        result = await setup.send(mx, content=content)
    assert result.outcome is Outcome.DEFERRED
    assert "AUTH" not in mx.verbs()


@pytest.mark.parametrize("content", [None, b"\nsecond line\n", b"\xff\n"])
async def test_a_password_that_cannot_be_read(content: bytes | None, tmp_path: Path, root: Issued) -> None:
    setup = Setup(tmp_path, root)
    if content is None:
        setup.secret.unlink()
    else:
        setup.secret.write_bytes(content)
    async with Receiver(tls=setup.context) as mx:
        result = await setup.send(mx)
    assert (result.outcome, result.status, mx.connections) == (Outcome.DEFERRED, "4.3.5", 0)


async def test_no_login_and_no_tls_nearby(tmp_path: Path, root: Issued) -> None:
    async with Receiver() as mx:
        result = await Setup(tmp_path, root, tls="none", user="", password_file="", ca_file="").send(mx)
    assert (result.outcome, result.tls) == (Outcome.DELIVERED, "")
