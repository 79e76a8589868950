"""model/verdict.py and model/reply.py: how verdicts combine, and what cannot get into a header or a reply."""

from __future__ import annotations

import pytest

from mailserver.hooks.contexts import Unresolvable
from mailserver.model.findings import NOTHING, AuthResult, Findings, Reason
from mailserver.model.reply import Reply
from mailserver.model.verdict import ACCEPT, Accept, Defer, HeaderField, Quarantine, Reject, Verdict, combine

H1, H2 = HeaderField("X-One", "1"), HeaderField("X-Two", "2")
SPF, BAYES = AuthResult(method="spf", result="pass"), Reason("bayes", 1.5, "It looks like junk")
F1, F2 = Findings((SPF,)), Findings((), (BAYES,))
REJECT, DEFER = Reject(Reply(550, "5.7.1", "no")), Defer(Reply(451, "4.7.1", "later"))


@pytest.mark.parametrize(
    ("chain", "result"),
    [
        ([], ACCEPT),
        ([Accept((H1,), F1), Accept((H2,), F2)], Accept((H1, H2), Findings((SPF,), (BAYES,)))),
        ([Accept((H1,), F2), Quarantine("bad", (H2,), F1), Accept((), F2)],
         Quarantine("bad", (H1, H2), Findings((SPF,), (BAYES, BAYES)))),
        ([Accept((H1,), F1), REJECT], Reject(REJECT.reply, findings=F1)),
        ([Quarantine("first"), Quarantine("second")], Quarantine("first")),
        ([Quarantine("bad"), REJECT, ACCEPT], REJECT),
        ([DEFER, REJECT], DEFER),
        ([ACCEPT, REJECT, DEFER], REJECT),
    ],
)
def test_combine(chain: list[Verdict], result: Verdict) -> None:
    assert combine(chain) == result


def test_findings() -> None:
    both = NOTHING + F1 + F2 + F2
    assert both.score == 3.0 and both.of("spf") == (SPF,) and both.of("dkim") == ()
    assert F1 + NOTHING is F1
    result = AuthResult(method="dkim", result="pass", properties=(("header.d", "a.test"), ("header.s", "x")))
    assert (result.value("header.s"), result.value("header.i")) == ("x", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nb"), ("X", "a\nb"), ("X", "a\0"), ("X:", "a"), ("", "a"), ("X Y", "a")],
)
def test_a13_a_header_field_is_one_line(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header field"):
        HeaderField(name, value)


def test_a_reply_is_ascii_lines_whatever_its_text() -> None:
    assert Reply(250, "2.0.0", "kept").encode() == b"250 2.0.0 kept\r\n"
    assert Reply(250, "", "a\nb").encode() == b"250-a\r\n250 b\r\n"
    assert Reply(550, "5.1.1", "é\r\0 evil\n250 ok").encode() == b"550-5.1.1 ??? evil\r\n550 5.1.1 250 ok\r\n"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (250, "2.0.0"), (354, ""), (550, "4.7.1"), (450, "5.7.1"), (550, "5.7.1\r\n250"), (550, "5.é.1"), (5, ""),
        (5500, ""),
    ],
)  # fmt: skip
def test_a_refusal_that_is_none_cannot_be_made(code: int, status: str) -> None:
    """A plugin that rejects with 250 would lose the message; RFC 2034 §3: the classes of both codes are the same."""
    reply = Reply(code, status, "no")
    for make in (Reject, Defer, lambda reply: Unresolvable(reply=reply)):
        with pytest.raises(ValueError, match="not a"):
            make(reply)


def test_refusals_are_of_their_kind() -> None:
    with pytest.raises(ValueError, match="5xx"):
        Reject(DEFER.reply)
    with pytest.raises(ValueError, match="4xx"):
        Defer(REJECT.reply)
    assert Unresolvable(reply=DEFER.reply).reply.refuses()
    assert Reject(Reply(550, "", "no")).reply.refuses("5")
