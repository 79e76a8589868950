"""Words by which servers say that they do not want our address, or less from it, whatever is in the message.

The large ones and the usual list operators, as they answer at present. A reply about the message's own words or links
is not about our address, even if it names a list operator.
"""

from __future__ import annotations

import re

from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["about_our_address", "asks_for_less"]

_LISTS = re.compile(
    # List operators, by their names or zones.
    r"spamhaus|spamcop|barracudacentral|barracudanetworks\.com/reputation|abusix|sorbs\.net|psbl|uceprotect"
    r"|mailspike|dnswl\.org/blocked|backscatterer|invaluement|blocklist\.de|spamrats|nixspam|truncate\.gbudb"
    r"|hostkarma|senderscore|cloudmark|ipcheck\.proofpoint|talosintelligence|senderbase|trendmicro.{0,40}ers"
    # Microsoft: S3140, S3150 and their kin; AS(...) codes of Exchange Online are about messages.
    r"|\(S31[45]0\)|S77719|S775|delist@microsoft|sender\.office\.com|banned sending ip"
    # Yahoo, AOL
    r"|\[(?:TSS?0[0-9]|BL2[0-9]|RLY:[A-Z0-9]+)\]"
    # Gmail: the address as a whole
    r"|4\.7\.28|unusual rate of unsolicited mail originating from your ip"
    # Apple, Comcast, Charter, Orange, Free, GMX and Web.de, T-Online
    r"|\[(?:CS01|HM0[0-9])\]|\bBL0000\d\d\b|\bRL00000\d\b|AUP#|OFR_?\d{3}|IP address is block ?listed"
    r"|tosa@rx\.t-online|postmaster\.gmx|senderguidelines",
    re.IGNORECASE,
)
#: What any server may say: both of these, before it has seen a message.
_REFUSED = re.compile(
    r"(?:black|block|deny)[ -]?list|\bblocked\b|\bbanned\b|\b(?:poor|bad|low)(?: ip)? reputation|\brbl\b|\bdnsbl\b"
    r"|client host rejected|access denied",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\bip\b|\bip address|client host|(?:sending|your) (?:host|server|network|mail server)|\bconnections?\b"
    r"|\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|ip reputation",
    re.IGNORECASE,
)
#: Lists of names and links in a message.
_OF_MESSAGES = re.compile(
    r"\bdbl\b|dbl\.spamhaus|surbl|uribl|\burl\b|\blinks?\b|message content|content of", re.IGNORECASE
)
#: Its own fault, which has nothing to do with a list: our name does not resolve, we greet badly.
_OF_NAMES = re.compile(r"cannot find your|reverse (?:dns|hostname)|helo command rejected|ptr record", re.IGNORECASE)
_LESS = re.compile(
    r"too many (?:connections|messages|concurrent|sessions|mails)|rate[ -]?limit|throttl|slow down|try again slower"
    r"|exceeded (?:the )?(?:maximum )?(?:connection|message|rate)|unexpected volume|connection (?:rate|limit)",
    re.IGNORECASE,
)


def about_our_address(text: str, stage: Stage) -> bool:
    """Is this refusal (4yz or 5yz) of the address that we connect from?"""
    if _OF_NAMES.search(text) is not None:
        return False
    if stage in (Stage.DATA, Stage.CONTENT, Stage.END):
        return _LISTS.search(text) is not None and _OF_MESSAGES.search(text) is None
    return _LISTS.search(text) is not None or (
        _REFUSED.search(text) is not None and _ADDRESS.search(text) is not None
    )


def asks_for_less(text: str, status: str) -> bool:
    """Does this 4yz reply ask for fewer messages or connections? RFC 3463 §3.8's X.7.28 (Gmail) and X.4.5 say so."""
    return status[1:] in (".7.28", ".4.5") or _LESS.search(text) is not None
