"""Why a server refused a message, as far as its answer tells: by its words, else by its enhanced status code (RFC 3463,
RFC 5248, RFC 7372), else by its reply code (RFC 5321 §4.2.3).

Words come first, because servers use codes as they please: 5.7.1 is said of spam, of block lists, of DMARC and of
mailing lists that take no guests. The table is data: fragments that are looked for in at most 1,000 characters in lower
case, in order; the first that is there counts.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

__all__ = ["Cause", "cause_of", "own_words"]


class Cause(Enum):
    """What a refusal, or our own failure, comes down to."""

    UNKNOWN_USER = "unknown user"
    #: "Not available": most servers mean that there is no such mailbox, but some say it of anything.
    MAILBOX_UNAVAILABLE = "mailbox unavailable"
    MAILBOX_DISABLED = "mailbox disabled"
    MAILBOX_FULL = "mailbox full"
    MAILBOX_BUSY = "mailbox busy"
    MOVED = "mailbox moved"
    BAD_ADDRESS = "bad address"
    UNKNOWN_DOMAIN = "unknown domain"
    NO_MAIL_DOMAIN = "domain takes no mail"
    RESTRICTED = "sender not permitted"
    BAD_SENDER = "bad sender address"
    BLOCK_LIST = "our address is on a block list"
    TOO_FAST = "too much mail"
    GREYLISTED = "greylisted"
    SPAM = "taken for spam"
    FORBIDDEN_CONTENT = "forbidden content"
    UNAUTHENTICATED = "not authenticated"
    REVERSE_DNS = "no reverse DNS"
    RELAY_DENIED = "relaying denied"
    POLICY = "policy"
    TOO_BIG = "too big"
    TOO_MANY_RECIPIENTS = "too many recipients"
    LOOP = "loop"
    TLS_WANTED = "server wants TLS"
    TLS_FAILED = "TLS failed"
    REQUIRETLS = "REQUIRETLS not supported"
    LOGIN_FAILED = "login failed"
    NO_CONNECTION = "no connection"
    DNS_FAILED = "DNS failed"
    NO_EIGHT_BIT = "8BITMIME not supported"
    NO_UTF8 = "SMTPUTF8 not supported"
    BUSY = "busy"
    SERVER_FULL = "server has no room"
    SERVER_ERROR = "server error"
    EXPIRED = "expired"
    PROTOCOL = "protocol error"
    UNKNOWN = "unknown"


#: Cause, the kinds of reply that it is looked for in ("5": for good, "45": any), fragments of the text.
_WORDS: tuple[tuple[Cause, str, tuple[str, ...]], ...] = (
    (Cause.GREYLISTED, "4", (
        "greylist", "graylist", "grey list", "gray list", "grey-list", "postgrey", "please retry in", "try again in 5",
        "come back later", "you must wait", "first time sender", "not yet authorized to deliver",
    )),
    (Cause.REVERSE_DNS, "45", (
        "ptr record", "ptr resource record", "reverse dns", "rdns", "reverse hostname", "reverse name",
        "reverse lookup", "no ptr",
    )),
    (Cause.RELAY_DENIED, "45", (
        "relay access denied", "relaying denied", "relay not permitted", "relaying not allowed", "unable to relay",
        "relaying is not", "we do not relay", "not allowed to relay", "relay denied", "allowed rcpthosts",
        "relaying temporarily denied",
    )),
    (Cause.UNAUTHENTICATED, "45", (
        "dmarc", "unauthenticated", "authentication checks", "spf check", "spf fail", "spf validation", "failed spf",
        "sender policy framework", "dkim fail", "dkim check", "dkim signature", "required authentication level",
        "anti-spoofing", "spoofed",
    )),
    (Cause.MAILBOX_BUSY, "4", ("receiving mail too quickly", "receiving mail at a rate", "mailbox busy",
                               "mailbox is busy", "mailbox temporarily")),
    (Cause.TOO_FAST, "45", (
        "too many messages", "too many connections", "rate limit", "rate of unsolicited", "ratelimit", "throttl",
        "too quickly", "too fast", "sending too much", "unexpected volume", "[tss0", "[tsr", "per hour",
        "too many emails", "sending limit", "sending quota", "daily limit", "daily user sending", "slow down",
        "concurrent connections", "unusual rate", "traffic from you",
    )),
    (Cause.BLOCK_LIST, "45", (
        "spamhaus", "spamcop", "barracuda", "sorbs", "uceprotect", "abusix", "manitu", "nixspam", "psbl.", "dnsbl",
        " rbl", "/rbl", "block list", "blocklist", "block-list", "blacklist", "black list", "black-list", "denylist",
        "blocked using", "listed at", "is listed in", "part of their network is on", "banned sending", "s3140", "s3150",
        "reputation", "ipcheck.proofpoint", "csi.cloudmark", "senderscore", "sender score", "senderbase",
        "a problem occurred. (ask your postmaster", "not authorized to send email directly", "dial-up", "dialup",
        "dynamic ip", "dynamic address", "residential", "client host blocked", "your ip has been",
        "ip address has been blocked", "connection refused by policy", "[bl2",
    )),
    (Cause.FORBIDDEN_CONTENT, "45", (
        "virus", "malware", "infected", "trojan", "phish", "potential security issue", "potentially dangerous",
        "attachment type", "banned file", "banned attachment", "blocked attachment", "executable", "clamav",
        "file type", "prohibited attachment", "encrypted attachment", "sanesecurity",
    )),
    (Cause.TOO_BIG, "45", (
        "message size", "size limit", "too large", "too big", "exceeds fixed limit", "exceeds size", "maximum size",
        "recipsizelimit", "overadvertisedsize", "message exceeds",
    )),
    (Cause.MAILBOX_FULL, "45", (
        "mailbox full", "mailbox is full", "mailbox for user is full", "over quota", "overquota", "quota exceeded",
        "exceeded quota", "quotaexceeded", "exceeded its quota", "exceeded storage allocation", "out of storage",
        "storage space", "inbox is full", "exceeded the storage", "disk quota", "over the quota",
        "insufficient quota", "mailbox quota", "quota violation", "not enough space in mailbox", "full mailbox",
    )),
    # About us, not about the recipient: before what is said of recipients in nearly the same words.
    (Cause.LOGIN_FAILED, "45", (
        "authentication required", "authentication failed", "authentication credentials", "auth failed",
        "must authenticate", "authentication unsuccessful", "username", "invalid credentials", "your account",
    )),
    (Cause.MAILBOX_DISABLED, "5", (
        "mailbox is disabled", "mailbox disabled", "account is disabled", "account disabled", "reach is disabled",
        "is inactive", "mailbox inactive", "account inactive", "account has been disabled", "mailbox suspended",
        "account has been suspended", "account suspended", "user disabled", "account deactivated", "mailbox locked",
        "account locked", "account is locked", "account expired", "account closed", "account has been closed",
        "no longer active", "(554.30)",
    )),
    (Cause.RESTRICTED, "5", (
        "notauthenticatedforgroup", "restrictedtorecipients", "not authenticated for group", "not permitted to send to",
        "not allowed to send to", "not authorized to send to", "only accepts", "does not accept mail from",
        "doesn't accept mail from", "only members", "members only", "subscribers only", "not a member",
        "not subscribed", "closed list", "moderated", "envelope blocked", "sender blocked", "blocked by recipient",
        "blocked by the recipient", "you are not allowed", "not accepting mail from", "isn't allowed to",
    )),
    (Cause.BAD_SENDER, "45", (
        "sender address rejected", "sender verify failed", "sender verification", "sender rejected", "sender denied",
        "invalid sender", "bad outbound sender", "sender domain", "domain of sender", "sender is not allowed",
        "bad sender", "return address", "mail from domain", "envelope sender", "sender address", "unknown sender",
    )),
    (Cause.UNKNOWN_DOMAIN, "45", (
        "domain not found", "domain does not exist", "domain doesn't exist", "no such domain", "unknown domain",
        "nonexistent domain", "non-existent domain", "host not found", "invalid domain",
    )),
    (Cause.UNKNOWN_USER, "5", (
        "user unknown", "unknown user", "unknown recipient", "recipient unknown", "no such user", "no such recipient",
        "no such mailbox", "no such address", "no such person", "no such account", "user does not exist",
        "account does not exist", "mailbox does not exist", "recipient does not exist", "address does not exist",
        "reach does not exist", "user doesn't exist", "account doesn't exist", "mailbox doesn't exist",
        "recipient doesn't exist", "address doesn't exist", "user not found", "recipient not found",
        "mailbox not found", "account not found", "address not found", "recipientnotfound", "recipnotfound",
        "recipient is not found", "address unknown", "unknown address", "unknown or illegal", "invalid recipient",
        "invalid mailbox", "invalid user", "not a valid mailbox", "not a valid user", "not a known user",
        "no mailbox here by that name", "no mailbox by that name", "doesn't have a yahoo", "unrouteable address",
        "unroutable address", "not our customer", "user is unknown", "undeliverable address", "no mailbox for",
        "unknown mailbox", "unknown local", "not listed in domino",
    )),
    (Cause.SPAM, "45", (
        "spam", "unsolicited", "junk", "bulk mail", "content rejected", "message content", "considered abusive",
        "suspicious", "[cs01]", "[hm0", "[hme", "rejected by content", "content filter", "listed url", "surbl",
        "uribl", "user complaints",
    )),
    (Cause.TOO_MANY_RECIPIENTS, "45", ("too many recipients", "too many rcpt", "recipient limit")),
    (Cause.LOOP, "45", ("mail loop", "routing loop", "loop detected", "looping", "too many hops", "hop count")),
    (Cause.REQUIRETLS, "45", ("requiretls",)),
    (Cause.TLS_WANTED, "45", (
        "must issue a starttls", "starttls command first", "tls required", "starttls is required", "requires tls",
        "encryption required", "encryption needed", "tls connection", "tls is required", "unencrypted",
    )),
    (Cause.MAILBOX_UNAVAILABLE, "5", ("mailbox unavailable", "mailbox not available", "recipient address rejected")),
    (Cause.BUSY, "4", (
        "server busy", "too busy", "service not available", "service unavailable", "temporarily unavailable",
        "try again later", "system load", "temporarily deferred",
    )),
    (Cause.POLICY, "45", ("policy", "administrative prohibition", "access denied", "prohibited", "not permitted")),
)  # fmt: skip

#: Status codes that mean the same wherever they are used, Microsoft's own ones included: they count before any words.
_CLEAR = {
    "2.2": Cause.MAILBOX_FULL, "2.3": Cause.TOO_BIG, "3.4": Cause.TOO_BIG, "4.6": Cause.LOOP,
    "5.3": Cause.TOO_MANY_RECIPIENTS, "7.23": Cause.UNAUTHENTICATED, "7.25": Cause.REVERSE_DNS,
    "7.26": Cause.UNAUTHENTICATED, "7.124": Cause.RESTRICTED, "7.129": Cause.RESTRICTED, "7.133": Cause.RESTRICTED,
    "7.134": Cause.RESTRICTED, "7.136": Cause.RESTRICTED, "7.509": Cause.UNAUTHENTICATED, "7.511": Cause.BLOCK_LIST,
    "7.515": Cause.UNAUTHENTICATED, "7.606": Cause.BLOCK_LIST, "7.8": Cause.LOGIN_FAILED,
}  # fmt: skip
#: Subject and detail of RFC 3463 and its registry.
_STATUS = {
    "1.1": Cause.UNKNOWN_USER, "1.2": Cause.UNKNOWN_DOMAIN, "1.3": Cause.BAD_ADDRESS, "1.4": Cause.BAD_ADDRESS,
    "1.6": Cause.MOVED, "1.7": Cause.BAD_SENDER, "1.8": Cause.BAD_SENDER, "1.9": Cause.SERVER_ERROR,
    "1.10": Cause.NO_MAIL_DOMAIN, "2.0": Cause.MAILBOX_UNAVAILABLE, "2.1": Cause.MAILBOX_DISABLED,
    "2.2": Cause.MAILBOX_FULL, "2.3": Cause.TOO_BIG, "2.4": Cause.SERVER_ERROR, "3.0": Cause.SERVER_ERROR,
    "3.1": Cause.SERVER_FULL, "3.2": Cause.BUSY, "3.3": Cause.SERVER_ERROR, "3.4": Cause.TOO_BIG,
    "3.5": Cause.SERVER_ERROR, "4.0": Cause.NO_CONNECTION, "4.1": Cause.NO_CONNECTION, "4.2": Cause.NO_CONNECTION,
    "4.3": Cause.DNS_FAILED, "4.4": Cause.UNKNOWN_DOMAIN, "4.5": Cause.BUSY, "4.6": Cause.LOOP, "4.7": Cause.EXPIRED,
    "5.0": Cause.PROTOCOL, "5.1": Cause.PROTOCOL, "5.2": Cause.PROTOCOL, "5.3": Cause.TOO_MANY_RECIPIENTS,
    "5.4": Cause.PROTOCOL, "5.5": Cause.PROTOCOL, "5.6": Cause.SERVER_ERROR, "6.0": Cause.FORBIDDEN_CONTENT,
    "6.1": Cause.FORBIDDEN_CONTENT, "6.3": Cause.NO_EIGHT_BIT, "6.5": Cause.NO_EIGHT_BIT, "6.7": Cause.NO_UTF8,
    "6.8": Cause.NO_UTF8, "6.9": Cause.NO_UTF8, "7.0": Cause.POLICY, "7.1": Cause.POLICY, "7.2": Cause.RESTRICTED,
    "7.4": Cause.TLS_FAILED, "7.5": Cause.TLS_FAILED, "7.8": Cause.LOGIN_FAILED, "7.9": Cause.LOGIN_FAILED,
    "7.10": Cause.TLS_WANTED, "7.11": Cause.TLS_WANTED, "7.13": Cause.MAILBOX_DISABLED, "7.17": Cause.MOVED,
    "7.20": Cause.UNAUTHENTICATED, "7.21": Cause.UNAUTHENTICATED, "7.22": Cause.UNAUTHENTICATED,
    "7.23": Cause.UNAUTHENTICATED, "7.24": Cause.UNAUTHENTICATED, "7.25": Cause.REVERSE_DNS,
    "7.26": Cause.UNAUTHENTICATED, "7.27": Cause.BAD_SENDER, "7.28": Cause.TOO_FAST, "7.30": Cause.REQUIRETLS,
}  # fmt: skip

_CODES = {
    421: Cause.BUSY, 450: Cause.MAILBOX_BUSY, 451: Cause.SERVER_ERROR, 452: Cause.SERVER_FULL,
    500: Cause.PROTOCOL, 501: Cause.PROTOCOL, 502: Cause.PROTOCOL, 503: Cause.PROTOCOL, 504: Cause.PROTOCOL,
    521: Cause.NO_MAIL_DOMAIN, 530: Cause.LOGIN_FAILED, 535: Cause.LOGIN_FAILED, 550: Cause.MAILBOX_UNAVAILABLE,
    551: Cause.MOVED, 552: Cause.MAILBOX_FULL, 553: Cause.BAD_ADDRESS, 555: Cause.PROTOCOL, 556: Cause.NO_MAIL_DOMAIN,
}  # fmt: skip

_LOOKED_AT = 1000
#: Quoted text, with the domain behind it; what stands in angle brackets and has an "@"; any other word with one.
_ADDRESSES = re.compile(r'(?<!\\)"(?:[^"\\]|\\.)*+"(?:@\S*+)?|<[^<>@]*+@[^<>]*+>|(?<!\S)[^\s@]*+@\S*+')


def cause_of(status: str, code: int, text: str) -> Cause:
    """The cause of a refusal.

    Args:
        status: x.y.z of RFC 3463, "" when there is none.
        code: The reply code of the server; 0 when no server said it, and then the status alone counts: the words are
            our own.
        text: The server's words; codes in front of them do no harm.
    """
    kind, precise = status[:1] or str(code)[:1], status[2:]
    if code:
        if precise in _CLEAR:
            return _CLEAR[precise]
        said = _said(kind, " ".join(own_words(text).lower().split()))
        if said is not None:
            return said
    return _STATUS.get(precise) or _CODES.get(code, Cause.UNKNOWN)


def own_words(text: str) -> str:
    """A reply without the addresses in it: those, and quoted text, say nothing of the cause, whatever words they are
    made of. A stranger chooses them: his own, to which a report goes."""
    return _ADDRESSES.sub(" ", text[:_LOOKED_AT])


@lru_cache(maxsize=256)  # a server says the same of each recipient
def _said(kind: str, words: str) -> Cause | None:
    for cause, kinds, fragments in _WORDS:
        if kind in kinds and any(fragment in words for fragment in fragments):
            return cause
    return None
