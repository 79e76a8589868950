"""Handing a message over: to the server, or to the data itself when no server runs and the user may."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mailserver.app.lock import is_locked
from mailserver.commands.mta.message import Message
from mailserver.commands.mta.options import Options
from mailserver.commands.mta.places import own_data
from mailserver.commands.mta.status import NO_USER, TEMPORARY, UNAVAILABLE, Stopped, of_reply
from mailserver.net.submit_client import NoServer, SubmitClient
from mailserver.wire.xtext import encode_xtext

__all__ = ["Order", "order", "submit"]

#: RFC 9422 §4: how many recipients one message may have; every server takes so few (RFC 5321 §4.5.3.1.8).
_RECIPIENTS = re.compile(r"RCPTMAX=([1-9][0-9]{0,5})")
_FEW = 100
#: Seconds until we believe that nobody is going to answer.
_RESTART = 3.0


class Order(NamedTuple):
    """What to say in MAIL and RCPT: their arguments."""

    mail: str
    recipients: tuple[tuple[str, str], ...]


def order(message: Message, options: Options, sender: str, recipients: Sequence[str]) -> Order:
    """The envelope; `recipients` are addresses."""
    mail = f"FROM:<{sender}> SIZE={message.size}"
    if options.eight_bit or message.eight_bit:
        mail += " BODY=8BITMIME"
    if not (sender.isascii() and all(recipient.isascii() for recipient in recipients)):
        mail += " SMTPUTF8"
    if options.dsn_return:
        mail += f" RET={options.dsn_return}"
    if options.envelope_id:
        mail += f" ENVID={encode_xtext(options.envelope_id)}"
    notify = f" NOTIFY={options.notify}" if options.notify else ""
    return Order(mail, tuple((one, f"TO:<{one}>{notify}") for one in dict.fromkeys(recipients)))


def submit(path: Path, message: Message, what: Order, options: Options) -> list[str]:
    """Hand it in; what the server said of each part. Raises Stopped, also when only some recipients were taken."""
    until = time.monotonic() + _RESTART
    while True:
        try:
            client = SubmitClient(path)
            break
        except NoServer as error:
            later = f"no mail server answers ({error}); try again when it runs"
            data = own_data(options.config)
            if data is not None and not is_locked(data):
                return _directly(data, later, message, what, options)
            if time.monotonic() > until:
                raise Stopped(TEMPORARY, later) from None
            time.sleep(0.25)
    with client:
        try:
            return _dialogue(client, message, what)
        except NoServer as error:
            raise Stopped(TEMPORARY, f"{error}; try again later") from None


def _dialogue(client: SubmitClient, message: Message, what: Order) -> list[str]:
    _good(client.greeting())
    limit = _RECIPIENTS.search(_good(client.command("EHLO localhost")))
    most = int(limit[1]) if limit is not None else _FEW
    done: list[str] = []
    refused: list[tuple[str, int, str]] = []
    for first in range(0, len(what.recipients), most):
        batch = what.recipients[first : first + most]
        _good(client.command(f"MAIL {what.mail}"))
        replies = [(address, *client.command(f"RCPT {argument}")) for address, argument in batch]
        refused += [reply for reply in replies if reply[1] >= 400]
        if all(reply[1] >= 400 for reply in replies):
            client.command("RSET")
            continue
        _good(client.command("DATA"))
        done.append(_good(client.data(message.lines())))
    client.command("QUIT")
    _report(refused, sent=bool(done))
    return done


def _good(reply: tuple[int, str]) -> str:
    code, text = reply
    if code >= 400:
        raise Stopped(of_reply(code, text), f"not sent: {_plain(text)} ({code})")
    return _plain(text)


def _report(refused: Sequence[tuple[str, int, str]], *, sent: bool) -> None:
    """Raises Stopped if anybody was refused."""
    if not refused:
        return
    lines = [f"not sent to {address}: {_plain(text)} ({code})" for address, code, text in refused]
    if sent:
        lines.append("sent to all others")
    codes = {of_reply(code, text) for _, code, text in refused}
    first = codes.pop()
    raise Stopped(first if not codes else NO_USER if NO_USER in codes | {first} else UNAVAILABLE, "\n".join(lines))


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _directly(data: Path, later: str, message: Message, what: Order, options: Options) -> list[str]:
    """No server runs. Raises Stopped."""
    # The whole server is imported only here, where nobody else can do the work.
    direct = importlib.import_module("mailserver.commands.mta.direct")
    done = direct.run(options.config, data, what, message.file(), later)
    if done["code"] >= 400:
        raise Stopped(of_reply(done["code"], done["text"]), f"not sent: {_plain(done['text'])} ({done['code']})")
    _report([(address, code, text) for address, code, text in done["refused"]], sent=bool(done["code"]))
    return [_plain(done["text"])]
