"""The part for people: what happened to whom, what it means, and what can be done; the server's words come last."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mailserver.mime.dates import zone_offset
from mailserver.mime.headers import value
from mailserver.outbound.dsn.advice import advise
from mailserver.outbound.dsn.fields import printable, remote_name
from mailserver.outbound.dsn.language import Advice, Language
from mailserver.outbound.dsn.original import subject
from mailserver.ports.reports import Action, ReportedRecipient, ReportRequest

__all__ = ["explain"]

_WIDTH = 72
_GROUPS, _RECIPIENTS = 20, 20
# RFC 3463 §3.5 X.4.7.
_TIME_IS_OVER = "4.4.7"
_Key = tuple[Action, Advice | None]


def explain(request: ReportRequest, told: Sequence[ReportedRecipient], hostname: str, language: Language) -> str:
    """The text, with LF between its lines. Times are those of the zone in which the sender wrote."""
    zone = zone_offset(value(request.head, b"date") or b"")
    arrived = language.moment(request.arrived, zone)
    about = language.message_of.format(arrived=arrived)
    # What a stranger wrote there is not said in our own words.
    words = "" if request.envelope.of_stranger else subject(request.head)
    about += f" {language.subject_was.format(subject=words)}" if words else "."
    paragraphs = [_wrapped(about)]
    groups = _grouped(told, language)
    for (action, advice), group in list(groups.items())[:_GROUPS]:
        paragraphs += _group(arrived, zone, action, advice, group, language)
    hidden = sum(len(group) for group in list(groups.values())[_GROUPS:])
    if hidden:
        paragraphs.append(_wrapped(language.more_groups.format(count=hidden)))
    paragraphs.append("-- \n" + _wrapped(language.signature.format(hostname=hostname)))
    return "\n\n".join(paragraphs) + "\n"


def _grouped(told: Sequence[ReportedRecipient], language: Language) -> dict[_Key, list[ReportedRecipient]]:
    """Recipients of whom the same is to be said, in the order in which each kind first appears."""
    groups: dict[_Key, list[ReportedRecipient]] = {}
    for one in told:
        groups.setdefault((one.action, _advice(one, language)), []).append(one)
    return groups


def _advice(one: ReportedRecipient, language: Language) -> Advice | None:
    # A delay of a message that could not even be tried has no reason that lies with the recipient's server.
    untried = one.action is Action.DELAYED and one.result.status == _TIME_IS_OVER
    if untried or one.action not in (Action.FAILED, Action.DELAYED):
        return None
    return advise(one.result, one.recipient.address.domain, language)


def _group(
    arrived: str, zone: int, action: Action, advice: Advice | None, group: Sequence[ReportedRecipient],
    language: Language,
) -> list[str]:  # fmt: skip
    first = group[0]
    paragraphs = [_wrapped(language.openings[action]), _names(group, language)]
    if action is Action.FAILED and first.result.status.startswith("4"):
        paragraphs.append(_wrapped(language.expired.format(arrived=arrived)))
    if advice is not None:
        paragraphs.append(_wrapped(language.meaning + advice.meaning))
        if action is Action.FAILED:
            paragraphs.append(_wrapped(language.remedy + advice.remedy))
    until = first.will_retry_until
    until_when = "" if until is None else language.until.format(time=language.moment(until, zone))
    paragraphs.append(_wrapped(language.closings[action].replace("{until}", until_when)))
    if advice is not None:
        paragraphs += [_wrapped(language.administrator + advice.administrator), _answer(first, language)]
    return paragraphs


def _names(group: Sequence[ReportedRecipient], language: Language) -> str:
    lines = [f"    {printable(str(one.recipient.address), 400)}" for one in group[:_RECIPIENTS]]
    if len(group) > _RECIPIENTS:
        lines.append(f"    {language.more_recipients.format(count=len(group) - _RECIPIENTS)}")
    return "\n".join(lines)


def _answer(one: ReportedRecipient, language: Language) -> str:
    """The words of the server for the first of the group, marked as a quotation."""
    result = one.result
    words = printable(result.reply, 500)
    if not result.code or not result.remote:
        intro = language.our_words
    else:
        intro = language.answer_of.format(remote=printable(remote_name(result), 300))
    if result.code:
        words = words if words.startswith(str(result.code)) else f"{result.code} {words}"
    quoted = textwrap.fill(
        f"{words} [{result.status}]" if result.status not in words else words, _WIDTH,
        initial_indent="  > ", subsequent_indent="  > ", break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return f"{_wrapped(intro)}\n{quoted}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
