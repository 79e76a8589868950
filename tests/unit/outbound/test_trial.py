"""The dry run: what an operator is shown of each host, and that nothing is sent."""

from __future__ import annotations

from pathlib import Path

from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Destination, Outcome
from mailserver.model.envelope import Envelope, Recipient
from mailserver.outbound.trial import try_out
from tests.helpers.authority import issue
from tests.helpers.receiver import Receiver
from tests.helpers.sending import make_sender

ENVELOPE = Envelope(
    sender=EmailAddress("anna", "example.test"), recipients=(Recipient(address=EmailAddress("bert", "far.test")),)
)


async def test_each_host_is_asked_and_nothing_is_sent(tmp_path: Path) -> None:
    shown = issue("mx.far.test", "*.far.test")
    refusing = {"RCPT": b"550 5.1.1 Nobody\r\n"}
    async with (
        Receiver(tls=shown.server_context(tmp_path)) as first, Receiver(answers=refusing) as second,
        Receiver(answers={"GREETING": b"421 4.3.2 Busy\r\n"}) as third, make_sender(Hooks()) as made,
    ):  # fmt: skip
        hosts = tuple(("mx.far.test", mx.port) for mx in (first, second, third))
        trial = await try_out(made, Destination(name="far.test", hosts=hosts), ENVELOPE)
        for mx in (first, second, third):
            await mx.settled()
            assert mx.messages == []
    one, two, three = trial.hosts
    assert one.result is not None
    assert one.certificate is not None
    assert (one.result.outcome, one.address, one.authenticated) == (Outcome.DELIVERED, "127.0.0.1", False)
    assert one.tls.startswith("TLSv1.3")
    assert one.certificate.names == ("mx.far.test", "*.far.test")
    assert len(one.certificate.sha256) == 64
    assert ("C", "RCPT TO:<bert@far.test>") in one.dialogue
    assert one.dialogue[0] == ("S", "220 mx.test ESMTP")
    assert [line for who, line in one.dialogue if who == "C"][-2:] == ["RSET", "QUIT"]
    assert two.result is not None
    assert (two.result.outcome, two.result.reply, two.tls) == (Outcome.FAILED, "550 5.1.1 Nobody", "")
    assert three.result is not None
    assert (three.result.outcome, three.result.code) == (Outcome.DEFERRED, 421)


async def test_there_is_no_host() -> None:
    async with make_sender(Hooks()) as made:
        trial = await try_out(made, Destination(name="far.test"), ENVELOPE)
    assert trial.hosts == ()
    assert "127.0.0.1, a loopback address" in trial.error
