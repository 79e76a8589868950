"""TLS with other servers: opportunistic, verified, DANE; what a policy makes of each failure, and what is told."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import TlsPolicyContext
from mailserver.model.delivery import Destination, Feedback, Outcome, Result
from mailserver.model.dns import Answer, Tlsa
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.outbound import tls
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.protection import OPPORTUNISTIC
from mailserver.outbound.sender import Sender
from mailserver.outbound.settings import SendingSettings
from tests.helpers.authority import Issued, issue, tlsa
from tests.helpers.daemon import free_port
from tests.helpers.receiver import Receiver
from tests.helpers.sending import MESSAGE, Events, Loopback, job, make_sender

NAME = "mx.far.test"


@pytest.fixture(scope="module")
def root() -> Issued:
    return issue(authority=True)


@pytest.fixture(scope="module")
def middle(root: Issued) -> Issued:
    return issue(authority=True, by=root)


@pytest.fixture(scope="module")
def leaf(middle: Issued) -> Issued:
    return issue(NAME, by=middle)


def trusting(monkeypatch: pytest.MonkeyPatch, root: Issued, tmp_path: Path) -> None:
    """`root` stands for the system's authorities."""
    file, made = root.write_ca(tmp_path), tls._verifying
    monkeypatch.setattr(tls, "_verifying", lambda ca_file: made(ca_file or file))


def with_policy(policy: TlsPolicy | None, **functions: Any) -> tuple[Sender, Events]:
    async def tls_policy(ctx: TlsPolicyContext) -> TlsPolicy | None:
        return policy

    events = Events(tls_policy=tls_policy, **functions)
    return make_sender(events.hooks), events


async def deliver(made: Sender, *receivers: Receiver, **arguments: Any) -> Result:
    hosts = tuple((NAME, mx.port) for mx in receivers)
    async with made:
        (result,) = (await made.deliver(job(destination=Destination(name=NAME, hosts=hosts), **arguments))).results
    return result


async def test_opportunistic_tls_takes_any_certificate(tmp_path: Path) -> None:
    made, events = with_policy(None)
    context = issue("other.test", expired=True).server_context(tmp_path)
    async with Receiver(features=("CHUNKING", "PIPELINING"), tls_features=("SIZE",), tls=context) as mx:
        result = await deliver(made, mx)
    assert result.outcome is Outcome.DELIVERED
    assert result.tls.startswith("TLSv1.3 TLS_")
    assert result.policy == "opportunistic"
    assert mx.messages[0].tls
    # RFC 3207 §4.2: what was offered in the clear does not count.
    assert mx.verbs() == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert "SIZE=" in mx.messages[0].mail
    (event,) = events.tls()
    assert (event.host, event.address, event.tls, event.failure) == (NAME, "127.0.0.1", result.tls, "")


async def test_the_server_is_asked_for_by_its_name(tmp_path: Path, leaf: Issued) -> None:
    asked = []
    context = leaf.server_context(tmp_path)
    context.sni_callback = lambda connection, name, ctx: asked.append(name)
    async with Receiver(tls=context) as mx:
        await deliver(with_policy(None)[0], mx)
        await deliver(with_policy(TlsPolicy(level=TlsLevel.ENCRYPTED, names=("base.far.test",)))[0], mx)
    assert asked == [NAME, "base.far.test"]


@pytest.mark.parametrize("level", [None, TlsLevel.ENCRYPTED, TlsLevel.VERIFIED, TlsLevel.DANE])
@pytest.mark.parametrize(
    "answer", [b"454 4.7.0 TLS not available\r\n", b"501 5.5.4 What?\r\n", b"250 2.0.0 Ok\r\n", "none"]
)
async def test_no_tls_to_be_had(level: TlsLevel | None, answer: Any, tmp_path: Path) -> None:
    policy = None if level is None else TlsPolicy(level=level, source="sts", tlsa=(Tlsa(3, 1, 1, bytes(32)),))
    made, events = with_policy(policy)
    context = None if answer == "none" else issue().server_context(tmp_path)
    async with Receiver(tls=context, answers={} if answer == "none" else {"STARTTLS": answer}) as mx:
        result = await deliver(made, mx)
    (event,) = events.tls()
    assert event.failure == "starttls-not-supported"
    if level is None:
        assert (result.outcome, result.tls) == (Outcome.DELIVERED, "")
        assert mx.connections == 1
    else:
        assert (result.outcome, result.status) == (Outcome.DEFERRED, "4.7.4")
        assert "TLS is needed with mx.far.test" in result.reply
        assert mx.messages == []


@pytest.mark.parametrize("level", [None, TlsLevel.ENCRYPTED, TlsLevel.VERIFIED, TlsLevel.DANE])
async def test_a_handshake_that_fails(level: TlsLevel | None, tmp_path: Path) -> None:
    """Opportunistic: once more on a new connection, in the clear (RFC 7435)."""
    context = issue().server_context(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # which our ECDSA key cannot do
    made, events = with_policy(level and TlsPolicy(level=level, tlsa=(Tlsa(3, 1, 1, bytes(32)),)))
    async with Receiver(tls=context) as mx:
        result = await deliver(made, mx)
    (event,) = events.tls()
    assert event.failure == "validation-failure"
    if level is None:
        assert (result.outcome, result.tls, mx.connections) == (Outcome.DELIVERED, "", 2)
        assert not mx.messages[0].tls
    else:
        assert (result.outcome, result.status, mx.messages) == (Outcome.DEFERRED, "4.7.5", [])


class _TwoAddresses(Loopback):
    async def addresses(self, host: str) -> Answer[str]:
        return Answer(records=("127.0.0.1", "127.0.0.2"), name=host)


async def test_an_address_whose_tls_is_broken_does_not_take_it_from_the_next(tmp_path: Path) -> None:
    broken = issue().server_context(tmp_path)
    broken.maximum_version = ssl.TLSVersion.TLSv1_2
    broken.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # which our ECDSA key cannot do
    greetings = [b"220 mx.far.test ESMTP\r\n", b"421 4.3.2 Not now\r\n"]
    events = Events()
    made = Sender(SendingSettings(), events.hooks, "mail.example.test", Exchangers(_TwoAddresses()))
    async with Receiver(port=free_port(), tls=broken, answers={"GREETING": list(greetings)}) as first:
        context = issue().server_context(tmp_path)
        async with Receiver(host="127.0.0.2", port=first.port, tls=context) as second:
            result = await deliver(made, first)
    assert (result.outcome, result.address) == (Outcome.DELIVERED, "127.0.0.2")
    assert result.tls.startswith("TLSv1.3")
    assert second.messages[0].tls
    assert [(event.address, event.failure) for event in events.tls()] == [
        ("127.0.0.1", "validation-failure"), ("127.0.0.2", ""),
    ]  # fmt: skip


async def test_no_tls_policy_means_no_tls(tmp_path: Path) -> None:
    made, events = with_policy(TlsPolicy(level=TlsLevel.NONE, source="configuration"))
    async with Receiver(tls=issue().server_context(tmp_path)) as mx:
        result = await deliver(made, mx)
    assert (result.tls, events.tls(), "STARTTLS" in mx.verbs()) == ("", [], False)


VERIFIED = TlsPolicy(level=TlsLevel.VERIFIED, source="sts")


async def test_a_certificate_of_a_known_authority(
    tmp_path: Path, leaf: Issued, root: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(monkeypatch, root, tmp_path)
    made, events = with_policy(VERIFIED)
    async with Receiver(tls=leaf.server_context(tmp_path)) as mx:
        result = await deliver(made, mx)
    assert (result.outcome, result.policy) == (Outcome.DELIVERED, "sts")
    assert mx.messages[0].tls
    assert [event.failure for event in events.tls()] == [""]


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("name", "certificate-host-mismatch"), ("common name", "certificate-host-mismatch"),
        ("date", "certificate-expired"), ("authority", "certificate-not-trusted"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("enforced", [True, False])
async def test_a_certificate_that_does_not_do(
    kind: str, failure: str, enforced: bool, tmp_path: Path, root: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that is being tested (RFC 8461 §5) only tells."""
    trusting(monkeypatch, root, tmp_path)
    shown = {
        "name": lambda: issue("other.test", "*.mx.far.test", by=root),
        "common name": lambda: issue(by=root, common_name=NAME),
        "date": lambda: issue(NAME, by=root, expired=True),
        "authority": lambda: issue(NAME, by=issue(authority=True)),
    }[kind]()
    policy = dataclasses.replace(VERIFIED, enforced=enforced)
    made, events = with_policy(policy)
    async with Receiver(tls=shown.server_context(tmp_path)) as mx:
        result = await deliver(made, mx)
    (event,) = events.tls()
    assert (event.failure, event.policy) == (failure, policy)
    assert event.detail
    if enforced:
        assert (result.outcome, result.status, mx.messages) == (Outcome.DEFERRED, "4.7.5", [])
    else:
        assert result.outcome is Outcome.DELIVERED
        assert mx.messages[0].tls


async def test_a_host_that_the_policy_refuses() -> None:
    made, events = with_policy(dataclasses.replace(VERIFIED, refused="it is not in the MTA-STS policy"))
    async with Receiver() as mx:
        result = await deliver(made, mx)
    assert (result.outcome, mx.connections) == (Outcome.DEFERRED, 0)
    assert "it is not in the MTA-STS policy" in result.reply
    assert len(events.tls()) == 1


async def test_a_policy_that_nobody_can_tell_now() -> None:
    async def broken(ctx: TlsPolicyContext) -> TlsPolicy:
        raise RuntimeError

    async with Receiver() as mx:
        result = await deliver(make_sender(Events(tls_policy=broken).hooks), mx)
    assert (result.outcome, mx.connections) == (Outcome.DEFERRED, 0)


# DANE


def dane(*records: Tlsa, **changes: Any) -> TlsPolicy:
    return TlsPolicy(level=TlsLevel.DANE, source="dane", tlsa=records, **changes)


async def by_dane(shown: Issued, policy: TlsPolicy, tmp_path: Path, *, whole: bool = True) -> tuple[Outcome, str]:
    made, events = with_policy(policy)
    async with Receiver(tls=shown.server_context(tmp_path, whole=whole)) as mx:
        result = await deliver(made, mx)
    (event,) = events.tls()
    assert (result.outcome is Outcome.DELIVERED) == (event.failure == "") == bool(mx.messages)
    return result.outcome, event.failure


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("usage", [2, 3])
async def test_dane_matches(
    usage: int, selector: int, matching: int, leaf: Issued, root: Issued, tmp_path: Path
) -> None:
    pinned = leaf.certificate if usage == 3 else root.certificate
    outcome, _ = await by_dane(leaf, dane(tlsa(pinned, usage, selector, matching)), tmp_path)
    assert outcome is Outcome.DELIVERED


async def test_dane_with_an_authority_in_the_middle(leaf: Issued, middle: Issued, tmp_path: Path) -> None:
    outcome, _ = await by_dane(leaf, dane(tlsa(middle.certificate, 2, 1, 1)), tmp_path, whole=False)
    assert outcome is Outcome.DELIVERED


async def test_dane_with_an_authority_that_stands_in_dns_only(leaf: Issued, root: Issued, tmp_path: Path) -> None:
    """RFC 7671 §5.2.2: a whole certificate need not be sent; of a digest nothing can be verified."""
    outcome, _ = await by_dane(leaf, dane(tlsa(root.certificate, 2, 0, 0)), tmp_path, whole=False)
    assert outcome is Outcome.DELIVERED
    outcome, failure = await by_dane(leaf, dane(tlsa(root.certificate, 2, 0, 1)), tmp_path, whole=False)
    assert (outcome, failure) == (Outcome.DEFERRED, "certificate-not-trusted")


async def test_dane_while_keys_are_rolled_over(leaf: Issued, root: Issued, tmp_path: Path) -> None:
    """G14: one record for the old key, one for the new."""
    other = issue(NAME)
    records = (tlsa(other.certificate, 3, 1, 1), tlsa(leaf.certificate, 3, 1, 1))
    assert (await by_dane(leaf, dane(*records), tmp_path))[0] is Outcome.DELIVERED
    assert (await by_dane(other, dane(*records), tmp_path))[0] is Outcome.DELIVERED


async def test_dane_with_its_own_certificate_knows_no_names_and_no_dates(tmp_path: Path) -> None:
    """RFC 7671 §5.1."""
    shown = issue("other.test", expired=True)
    assert (await by_dane(shown, dane(tlsa(shown.certificate, 3, 1, 1)), tmp_path))[0] is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("mismatch", "validation-failure"), ("name", "certificate-host-mismatch"), ("date", "certificate-expired"),
        ("authority", "certificate-not-trusted"), ("no authority", "certificate-not-trusted"),
        ("forged", "certificate-not-trusted"), ("own key as an authority", "certificate-not-trusted"),
    ],
)  # fmt: skip
async def test_dane_does_not_match(kind: str, failure: str, root: Issued, leaf: Issued, tmp_path: Path) -> None:
    impostor = issue(authority=True)
    forged = issue(NAME, by=impostor)
    shown, record = {
        "mismatch": lambda: (leaf, tlsa(issue().certificate, 3, 1, 1)),
        "name": lambda: (issue("other.test", by=root), tlsa(root.certificate, 2, 1, 1)),
        "date": lambda: (issue(NAME, by=root, expired=True), tlsa(root.certificate, 2, 1, 1)),
        "authority": lambda: (leaf, tlsa(impostor.certificate, 2, 1, 1)),
        # A certificate that may sign nothing has signed all the same.
        "no authority": lambda: (issue(NAME, by=leaf), tlsa(leaf.certificate, 2, 1, 1)),
        # The true root stands in the chain, and has signed nothing of it.
        "forged": lambda: (dataclasses.replace(forged, above=(root.certificate,)), tlsa(root.certificate, 2, 1, 1)),
        "own key as an authority": lambda: (leaf, tlsa(leaf.certificate, 2, 1, 1)),
    }[kind]()
    assert await by_dane(shown, dane(record), tmp_path) == (Outcome.DEFERRED, failure)


async def test_dane_takes_the_domain_of_the_mail_and_a_common_name(root: Issued, tmp_path: Path) -> None:
    """RFC 7672 §3.2.2, §3.2.3."""
    record = tlsa(root.certificate, 2, 1, 1)
    shown = issue("far.test", by=root)
    assert (await by_dane(shown, dane(record, names=(NAME, "far.test")), tmp_path))[0] is Outcome.DELIVERED
    shown = issue(by=root, common_name=NAME)
    assert (await by_dane(shown, dane(record), tmp_path))[0] is Outcome.DELIVERED


async def test_dane_with_records_that_nobody_can_use_is_tls_without_a_look(leaf: Issued, tmp_path: Path) -> None:
    """RFC 7672 §2.2, §3.1.3."""
    record = tlsa(issue().certificate, 1, 1, 1)
    assert (await by_dane(leaf, dane(record), tmp_path))[0] is Outcome.DELIVERED


# REQUIRETLS and its contrary


@pytest.mark.parametrize("offered", [True, False])
async def test_requiretls(offered: bool, leaf: Issued, tmp_path: Path) -> None:
    made, _ = with_policy(dane(tlsa(leaf.certificate, 3, 1, 1)))
    features = ("PIPELINING", "REQUIRETLS") if offered else ("PIPELINING",)
    async with Receiver(features=(), tls_features=features, tls=leaf.server_context(tmp_path)) as mx:
        result = await deliver(made, mx, require_tls=True)
    if offered:
        assert result.outcome is Outcome.DELIVERED
        assert mx.messages[0].mail == "FROM:<anna@example.test> REQUIRETLS"
    else:
        assert (result.outcome, result.status) == (Outcome.FAILED, "5.7.30")
        assert mx.verbs() == ["EHLO", "STARTTLS", "EHLO", "QUIT"]


async def test_a_report_about_requiretls_asks_for_it_where_it_is_known(leaf: Issued, tmp_path: Path) -> None:
    """RFC 8689 §5: it MUST have it too, and goes out where that is not known all the same."""
    context = leaf.server_context(tmp_path)
    for tls_features, mail in ((("REQUIRETLS",), "FROM:<> REQUIRETLS"), ((), "FROM:<>")):
        async with Receiver(tls_features=tls_features, tls=context) as mx:
            result = await deliver(with_policy(None)[0], mx, require_tls=True, sender="")
        assert result.outcome is Outcome.DELIVERED
        assert mx.messages[0].mail == mail
    async with Receiver(features=("REQUIRETLS",)) as mx:
        # RFC 8689 §2: an offer in the clear means nothing.
        assert (await deliver(with_policy(None)[0], mx, require_tls=True, sender="")).outcome is Outcome.DELIVERED
    assert mx.messages[0].mail == "FROM:<>"


async def test_requiretls_with_a_certificate_of_nobody_knows_whom(leaf: Issued, tmp_path: Path) -> None:
    """Without a policy the operator's word or DNSSEC names the host, and its certificate must be good (G20)."""
    made, _ = with_policy(None)
    async with Receiver(tls_features=("REQUIRETLS",), tls=leaf.server_context(tmp_path)) as mx:
        result = await deliver(made, mx, require_tls=True)
        assert (result.outcome, result.status, mx.messages) == (Outcome.FAILED, "5.7.10", [])
    made, _ = with_policy(None)
    async with Receiver(features=("REQUIRETLS",)) as mx:
        result = await deliver(made, mx, require_tls=True)
        assert (result.outcome, result.status, mx.messages) == (Outcome.FAILED, "5.7.10", [])


@pytest.mark.parametrize(
    ("greetings", "outcome"),
    [
        # Both addresses of the host have no TLS, or one of them may have it tomorrow.
        (({}, {}), Outcome.FAILED), (({"GREETING": b"421 4.3.2 Later\r\n"}, {}), Outcome.DEFERRED),
        (({}, {"GREETING": b"421 4.3.2 Later\r\n"}), Outcome.DEFERRED),
    ],
)  # fmt: skip
async def test_requiretls_where_only_some_addresses_of_a_host_have_no_tls(
    greetings: tuple[dict[str, Any], dict[str, Any]], outcome: Outcome
) -> None:
    made = Sender(SendingSettings(), Events().hooks, "mail.example.test", Exchangers(_TwoAddresses()))
    async with (
        Receiver(port=free_port(), answers=greetings[0]) as first,
        Receiver(answers=greetings[1], host="127.0.0.2", port=first.port) as second,
    ):
        result = await deliver(made, first, require_tls=True)
    assert result.outcome is outcome
    assert first.connections == second.connections == 1
    assert first.messages == second.messages == []


async def test_requiretls_to_a_host_that_nobody_vouches_for(leaf: Issued, tmp_path: Path) -> None:
    """RFC 8689 §4.2.1: neither DNSSEC nor MTA-STS says that this is the domain's server."""
    async with Receiver(tls_features=("REQUIRETLS",), tls=leaf.server_context(tmp_path)) as mx:
        exchangers = Exchangers(Loopback(mx=(NAME,)), port=mx.port, allow_private=True)
        async with Sender(SendingSettings(), Events().hooks, "mail.example.test", exchangers) as made:
            report = await made.deliver(job(destination=Destination(name="far.test"), require_tls=True))
    (result,) = report.results
    assert (result.outcome, result.status, mx.connections) == (Outcome.FAILED, "5.7.10", 0)


async def test_a_report_about_a_requiretls_message_goes_out_all_the_same() -> None:
    """RFC 8689 §5."""
    async with Receiver() as mx:
        result = await deliver(with_policy(None)[0], mx, require_tls=True, sender="")
    assert result.outcome is Outcome.DELIVERED


async def test_a_message_that_rather_arrives(leaf: Issued, tmp_path: Path) -> None:
    """RFC 8689 §4.2.2; what its connection promises is not enough for the next message."""
    content = b"TLS-Required: No\r\n" + MESSAGE
    made, events = with_policy(dane(tlsa(issue().certificate, 3, 1, 1)))
    destination = Destination(name=NAME, hosts=((NAME, 0),))
    async with Receiver(tls=leaf.server_context(tmp_path)) as mx, made:
        destination = Destination(name=NAME, hosts=((NAME, mx.port),))
        report = await made.deliver(job(destination=destination, content=content))
        assert report.results[0].outcome is Outcome.DELIVERED
        assert [event.failure for event in events.tls()] == ["validation-failure"]
        report = await made.deliver(job(destination=destination))
        assert report.results[0].outcome is Outcome.DEFERRED
        assert report.feedback is Feedback.UNREACHABLE


async def test_a_connection_serves_requiretls_only_if_it_was_made_so(leaf: Issued, tmp_path: Path) -> None:
    made, _ = with_policy(TlsPolicy(level=TlsLevel.ENCRYPTED))
    async with Receiver(tls_features=("REQUIRETLS",), tls=leaf.server_context(tmp_path)) as mx, made:
        destination = Destination(name=NAME, hosts=((NAME, mx.port),))
        assert (await made.deliver(job(destination=destination))).results[0].outcome is Outcome.DELIVERED
        report = await made.deliver(job(destination=destination, require_tls=True))
        assert report.results[0].outcome is Outcome.FAILED
    assert len(mx.messages) == 1


def test_the_system_s_authorities_are_read_once() -> None:
    contexts = tls.ClientContexts()
    assert contexts.get(VERIFIED) is contexts.get(dataclasses.replace(VERIFIED, names=("x.test",)))
    assert contexts.get(OPPORTUNISTIC) is not contexts.get(VERIFIED)
