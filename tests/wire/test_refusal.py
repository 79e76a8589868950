"""Answers as the large providers give them (from their postmaster pages and bounces), and what they come down to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.refusal import _WORDS, Cause, cause_of

ANSWERS = """
unknown user
550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for typos. For more information, go to https://support.google.com/mail/?p=NoSuchUser 4fb4d7f45d1cf-5cf - gsmtp
550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@contoso.test not found by SMTP address lookup
550 5.5.0 This user doesn't have a yahoo.com account (virus@yahoo.test) [0]
550 5.1.1 unknown or illegal alias: spam@icloud.test
550 5.1.1 <block.list@example.test>: Recipient address rejected: User unknown in virtual mailbox table
550 5.0.0 Unrouteable address
550 5.1.1 sorry, no mailbox here by that name (#5.1.1)
550 5.4.1 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550
mailbox unavailable
550 5.4.1 Recipient address rejected: Access denied. [AM0PR01MB1234.eurprd01.prod.protection.outlook.com]
550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [CO1NAM11.prod.protection.outlook.com]
550 5.0.0 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net/en/case?c=hi
mailbox full
452 4.2.2 The email account that you tried to reach is over quota. - gsmtp
552 5.2.2 <anna@me.test>: user is over quota
554 5.0.0 Quota exceeded (mailbox for user is full)
552 5.0.0 Requested mail action aborted: exceeded storage allocation
mailbox disabled
550 5.2.1 The email account that you tried to reach is inactive. - gsmtp
554 5.0.0 Sorry, your message to x@yahoo.test cannot be delivered. This mailbox is disabled (554.30).
mailbox busy
450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages - gsmtp
not authenticated
550 5.7.26 This mail is unauthenticated, which poses a security risk to the sender and Gmail users - gsmtp
550 5.7.509 Access denied, sending domain example.test does not pass DMARC verification and has a DMARC policy of reject.
554 5.7.9 Message not accepted for policy reasons: DMARC. See https://postmaster.yahooinc.com/error-codes
550 5.0.0 Rejected by header based Anti-Spoofing policy: anna@example.test - https://community.mimecast.com/docs
550 5.7.23 The message was rejected because of Sender Policy Framework violation
our address is on a block list
550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. To request removal see https://www.spamhaus.org/query/ip/192.0.2.1
550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit https://sender.office.com/
550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).
553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list
554 5.0.0 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.)
554 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1
554 5.7.1 Your access to this mail system has been rejected due to the sending MTA's poor reputation.
550 5.7.1 The IP you're using to send mail is not authorized to send email directly to our servers. - gsmtp
554 5.0.0 Transaction failed, IP address is black listed.
too much mail
421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address. - gsmtp
451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.
421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1
greylisted
451 4.7.1 Greylisting in action, please come back later
450 4.2.0 <anna@example.test>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/
taken for spam
550 5.7.1 [192.0.2.1] Our system has detected that this message is likely unsolicited mail. - gsmtp
554 5.7.1 Spam message rejected
554 5.7.1 [CS01] Message rejected due to local policy.
550 5.0.0 Message content rejected
forbidden content
552 5.7.0 This message was blocked because its content presents a potential security issue. - gsmtp
550 5.7.1 Message infected by Eicar-Test-Signature, virus found
too big
552 5.3.4 Your message exceeded Google's message size limits. - gsmtp
552 5.0.0 Message size exceeds fixed limit
no reverse DNS
550 5.7.25 The IP address sending this message does not have a PTR record setup - gsmtp
554 5.0.0 No SMTP service Bad DNS PTR resource record.
relaying denied
554 5.7.1 <anna@example.test>: Relay access denied
sender not permitted
550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required
550 5.0.0 Envelope blocked - User Entry - https://community.mimecast.com/docs/DOC-1369#550
bad sender address
550 5.1.8 <anna@example.test>: Sender address rejected: Domain not found
550 5.0.0 Sender domain does not exist
server wants TLS
530 5.7.0 Must issue a STARTTLS command first
login failed
535 5.0.0 Invalid username or password
550 5.0.0 Your account has been suspended, mail is not sent
550 5.7.1 Authentication required
unknown domain
550 5.0.0 The recipient's domain does not exist
loop
554 5.4.14 Hop count exceeded - possible mail loop ATTR34
too many recipients
452 4.5.3 Too many recipients
busy
451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77714)
421 4.3.2 Service not available, closing transmission channel
server has no room
452 4.3.1 Insufficient system resources
policy
550 5.7.1 Message rejected for policy reasons
"""  # noqa: E501


def answers() -> list[tuple[str, str]]:
    found, cause = [], ""
    for line in ANSWERS.strip().splitlines():
        if line[0].isdigit():
            found.append((line, cause))
        else:
            cause = line
    return found


@pytest.mark.parametrize(("answer", "cause"), answers())
def test_answers_of_large_providers(answer: str, cause: str) -> None:
    code, status, text = answer.split(" ", 2)
    assert cause_of(status, int(code), text).value == cause


def test_the_table_can_match() -> None:
    """Words are compared in lower case, with one space between them and without addresses."""
    for _, kinds, fragments in _WORDS:
        assert kinds in ("4", "5", "45")
        assert len(set(fragments)) == len(fragments)
        for fragment in fragments:
            assert fragment == fragment.lower()
            assert "@" not in fragment and "  " not in fragment and len(fragment) > 3


def test_our_own_words_are_not_searched() -> None:
    assert cause_of("4.4.1", 0, "spamhaus.test does not answer: over quota") is Cause.NO_CONNECTION
    assert cause_of("5.1.10", 0, "") is Cause.NO_MAIL_DOMAIN
    assert cause_of("5.7.30", 0, "") is Cause.REQUIRETLS
    assert cause_of("5.9.9", 0, "") is Cause.UNKNOWN


def test_what_is_temporary_is_no_verdict_on_the_address() -> None:
    assert cause_of("4.2.0", 450, "user unknown, or try again later") is Cause.BUSY


def test_without_words_the_codes_count() -> None:
    assert cause_of("5.1.6", 550, "no") is Cause.MOVED
    assert cause_of("", 552, "no") is Cause.MAILBOX_FULL
    assert cause_of("", 450, "no") is Cause.MAILBOX_BUSY
    assert cause_of("", 599, "") is Cause.UNKNOWN


@given(st.text(), st.text(), st.integers(0, 999))
def test_every_answer_has_a_cause(status: str, text: str, code: int) -> None:
    assert isinstance(cause_of(status, code, text), Cause)
