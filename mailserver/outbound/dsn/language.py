"""What a language must have for reports to be written in it; `english.py` is the first one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mailserver.ports.reports import Action
from mailserver.wire.refusal import Cause

__all__ = ["Advice", "Language"]


@dataclass(frozen=True, slots=True)
class Advice:
    """Of one cause: what it means and what the sender can do, in everybody's words, and a line for administrators.

    `{domain}` stands for the recipient's domain.
    """

    meaning: str
    remedy: str
    administrator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """All texts of reports. `{...}` are filled in: each text has the ones of its English counterpart."""

    #: Content-Language of the text.
    tag: str
    #: A time (epoch seconds) in a zone (seconds east of UTC), as people write it.
    moment: Callable[[float, int], str]
    #: What stands in Subject, per action.
    subjects: Mapping[Action, str]
    #: Behind the first of several recipients.
    and_others: str
    #: How the text begins, per action, and how the message is described.
    openings: Mapping[Action, str]
    expired: str
    message_of: str
    subject_was: str
    #: What follows the recipients, per action.
    closings: Mapping[Action, str]
    until: str
    meaning: str
    remedy: str
    administrator: str
    answer_of: str
    our_words: str
    more_recipients: str
    more_groups: str
    signature: str
    causes: Mapping[Cause, Advice]
    #: Further lines for administrators, by the names of `advice.py`.
    sources: Mapping[str, str]
