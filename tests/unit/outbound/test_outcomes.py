"""What replies of real servers mean (RFC 5321 §4.2.1, RFC 3463)."""

from __future__ import annotations

import pytest

from mailserver.model.delivery import Feedback, Outcome
from mailserver.outbound.outcomes import judge, too_many_recipients
from mailserver.wire.smtp_client.replies import RemoteReply, ReplyReader
from mailserver.wire.smtp_client.transaction import Stage

D, T, F = Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED
FINE, BUSY, BLOCKED = Feedback.FINE, Feedback.BUSY, Feedback.BLOCKED


def parsed(text: str) -> RemoteReply:
    (reply,) = ReplyReader().feed(text.replace("\n", "\r\n").encode() + b"\r\n")
    return reply


@pytest.mark.parametrize(
    ("stage", "text", "outcome", "status", "feedback"),
    [
        (Stage.END, "250 2.0.0 Ok: queued as 4XYZ", D, "2.0.0", FINE),
        (Stage.END, "250 2.6.0 <id> Queued mail for delivery", D, "2.6.0", FINE),
        (Stage.END, "250 Ok", D, "2.0.0", FINE),
        (Stage.END, "250 5.0.0 what", D, "2.0.0", FINE),
        (Stage.END, "354 what", T, "4.5.0", FINE),
        (Stage.DATA, "250 what", T, "4.5.0", FINE),
        (Stage.RCPT, "550 5.1.1 No such user here", F, "5.1.1", FINE),
        (Stage.RCPT, "550 No such user here", F, "5.0.0", FINE),
        (Stage.RCPT, "552 5.2.2 Mailbox full", F, "5.2.2", FINE),
        # RFC 5321 §4.5.3.1.10.
        (Stage.RCPT, "552 5.5.3 Too many recipients", T, "4.5.3", FINE),
        (Stage.RCPT, "552 Too many recipients", T, "4.0.0", FINE),
        (Stage.RCPT, "450 4.2.0 Greylisted, try again in 5 minutes", T, "4.2.0", FINE),
        (Stage.RCPT, "451 Greylisted", T, "4.0.0", FINE),
        # One half says for now.
        (Stage.RCPT, "550 4.2.1 The user is receiving mail too quickly", T, "4.2.1", FINE),
        (Stage.RCPT, "450 5.1.1 unverified", T, "4.1.1", FINE),
        (Stage.RCPT, "550 2.1.5 what", T, "4.1.5", FINE),
        (Stage.GREETING, "421 4.3.2 Service not available", T, "4.3.2", BUSY),
        (Stage.RCPT, "421 4.7.0 Too many errors", T, "4.7.0", BUSY),
        (Stage.MAIL, "451 4.3.0 Temporary system problem", T, "4.3.0", BUSY),
        (Stage.MAIL, "452 4.3.1 Insufficient system storage", T, "4.3.1", BUSY),
        (Stage.GREETING, "554 No SMTP service here", F, "5.0.0", FINE),
        (Stage.MAIL, "550 5.7.23 SPF validation failed", F, "5.7.23", FINE),
        (Stage.END, ("550-5.7.26 This mail has been blocked because the sender is unauthenticated.\n"
                    "550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n"
                    "550 5.7.26 abc - gsmtp"), F, "5.7.26", FINE),
        (Stage.END, "554 5.7.1 Message contains a URL listed in dbl.spamhaus.org", F, "5.7.1", FINE),
        (Stage.END, "550 5.7.1 Message rejected as spam by Content Filtering.", F, "5.7.1", FINE),
        (Stage.END, "550 5.2.3 Message too large", F, "5.2.3", FINE),
        (Stage.MAIL, "530 5.7.0 Must issue a STARTTLS command first", T, "4.7.0", FINE),
        (Stage.RCPT, "530 5.7.1 Authentication required", T, "4.7.1", FINE),
        # About our address.
        (Stage.RCPT, ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org;"
                     " https://www.spamhaus.org/query/ip/192.0.2.1"), T, "4.7.1", BLOCKED),
        (Stage.MAIL, ("550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet"
                     " service provider since part of their network is on our block list (S3150)."),
         T, "4.7.1", BLOCKED),
        (Stage.RCPT, ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal visit"
                     " https://sender.office.com/"), T, "4.7.606", BLOCKED),
        (Stage.GREETING, ("421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP\n"
                         "421 4.7.28 address. abc - gsmtp"), T, "4.7.28", BLOCKED),
        (Stage.MAIL, ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user"
                     " complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes"), T, "4.7.0", BLOCKED),
        (Stage.GREETING, ("553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in"
                         " Spamhaus's list"), T, "4.7.1", BLOCKED),
        (Stage.GREETING, ("554-gmx.net (mxgmx008) Nemesis ESMTP Service not available\n554-No SMTP service\n"
                         "554-IP address is block listed.\n554 For explanation visit"
                         " https://postmaster.gmx.net/en/case?c=r0601"), T, "4.0.0", BLOCKED),
        (Stage.GREETING, ("554 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact"
                         " tosa@rx.t-online.de to clarify.)"), T, "4.0.0", BLOCKED),
        (Stage.EHLO, "550 Your IP address is on our blacklist", T, "4.0.0", BLOCKED),
        (Stage.RCPT, "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", T, "4.7.1", BLOCKED),
        (Stage.GREETING, "554 5.7.1 Your mail server has a poor reputation, connection refused", T, "4.7.1", BLOCKED),
        # About our name, or about something else.
        (Stage.RCPT, "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", T, "4.7.25", FINE),
        (Stage.RCPT, "554 5.7.1 <b@far.test>: Relay access denied", F, "5.7.1", FINE),
        (Stage.RCPT, "550 5.7.1 Recipient address blocked by its owner", F, "5.7.1", FINE),
        # Less, please.
        (Stage.RCPT, "452 4.4.5 Too many messages from your side", T, "4.4.5", BUSY),
        (Stage.RCPT, "450 4.7.1 Rate limit exceeded", T, "4.7.1", BUSY),
    ],
)  # fmt: skip
def test_a_reply_is_judged(stage: Stage, text: str, outcome: Outcome, status: str, feedback: Feedback) -> None:
    judgement = judge(stage, parsed(text))
    assert (judgement.outcome, judgement.status, judgement.feedback) == (outcome, status, feedback)


@pytest.mark.parametrize(
    ("text", "many"),
    [
        ("452 4.5.3 Too many recipients", True),
        ("552 5.5.3 Too many recipients", True),
        ("552 too many recipients", True),
        ("452 4.3.1 Insufficient system storage", False),
        ("452 4.2.2 Over quota", False),
        ("552 5.2.2 Mailbox full", False),
        ("550 5.5.3 Too many recipients", False),
    ],
)
def test_too_many_recipients_are_for_the_next_transaction(text: str, many: bool) -> None:
    assert too_many_recipients(parsed(text)) is many


@pytest.mark.parametrize(
    "words", ["blocked using spamhaus", "client host rejected", "rate limit 4.7.28", 'slow \\" down'],
)
@pytest.mark.parametrize(
    "text",
    ['<"WORDS"@x.test>: Address rejected', '"WORDS"@x.test... User unknown', 'User unknown: "WORDS" (x.test)'],
)
def test_the_words_of_an_address_are_not_the_server_s(words: str, text: str) -> None:
    """Who writes to it, or has a report sent to it, must not stop all mail for its domain."""
    found = judge(Stage.RCPT, parsed(f"550 5.1.1 {text.replace('WORDS', words)}"))
    assert (found.outcome, found.status, found.feedback) == (F, "5.1.1", FINE)


def test_a_hostile_reply_is_judged_in_linear_time() -> None:
    """Each of these is what some pattern begins with; a pattern that backtracks would not end."""
    for words in ("your ip ", "client host [", "1.1.1.", "messages from ", "trendmicro ", "exceeded the maximum "):
        judge(Stage.RCPT, parsed("554 " + words * 150))
