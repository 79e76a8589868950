"""What happens when the program is called sendmail, mailq or newaliases, or as `mailserver sendmail`."""

from __future__ import annotations

import importlib
import os
import pwd
import sys
from collections.abc import Sequence
from typing import NoReturn

from mailserver.commands.mta.message import HERE, Message, addresses
from mailserver.commands.mta.options import Options, parse
from mailserver.commands.mta.places import SYSTEM_CONFIG, own_data, submit_socket
from mailserver.commands.mta.status import DATA, NO_PERMISSION, TEMPORARY, USAGE, Stopped
from mailserver.commands.mta.submit import order, submit
from mailserver.mime.compose import phrase
from mailserver.net.submit_client import NoServer, relay

__all__ = ["main"]


def main(program: str, words: Sequence[str], config: str = "") -> NoReturn:
    """Run and exit. Every failure is told in a line or two on standard error."""
    code = 0
    options = Options()
    try:
        options = parse(words, program=program)
        _run(options if options.config or not config else options._replace(config=config))
    except Stopped as stopped:
        for line in str(stopped).splitlines():
            print(f"{program}: {line}", file=sys.stderr)
        code = stopped.code
    except KeyboardInterrupt:
        code = TEMPORARY
    sys.stdout.flush()
    if options.mode == "smtp":
        # A thread may still wait for standard input, and the interpreter's end for the thread.
        os._exit(code)
    sys.exit(code)


def _run(options: Options) -> None:
    if options.mode == "smtp":
        _smtp(options)
    elif options.mode in ("list", "flush"):
        _queue(options)
    elif options.mode == "send":
        _send(options)


def _send(options: Options) -> None:
    given = [one for word in options.recipients for one in _addresses(word)]
    if not given and not options.extract:
        raise Stopped(USAGE, "name the recipients, or take them from the header with -t")
    with Message(sys.stdin.buffer, dot_ends=options.dot_ends) as message:
        _hand_over(message, options, given)


def _hand_over(message: Message, options: Options, given: list[str]) -> None:
    recipients = given + (message.recipients() if options.extract else [])
    if not recipients:
        raise Stopped(DATA, "the message names no recipient in To, Cc or Bcc")
    user = _user()
    sender = f"{user}@{HERE}" if options.sender is None else _sender(options.sender)
    name = options.full_name or os.environ.get("NAME", "") or _full_name(user)
    if name and not message.has(b"from"):
        message.add(f"From: {phrase(name)} <{sender or f'{user}@{HERE}'}>")
    done = submit(submit_socket(options.config), message, order(message, options, sender, recipients), options)
    if options.verbose:
        print("\n".join(done))


def _sender(text: str) -> str:
    if not text:
        return ""
    found = _addresses(text)
    if len(found) != 1:
        raise Stopped(USAGE, f"-f {text}: one address is expected")
    return found[0]


def _addresses(word: str) -> list[str]:
    if any(c < " " or c == "\x7f" for c in word):
        raise Stopped(DATA, "there is an address with control characters")
    return addresses(word.encode("utf-8", "surrogateescape"))


def _smtp(options: Options) -> None:
    path = submit_socket(options.config)
    try:
        polite = relay(path, sys.stdin.fileno(), sys.stdout.fileno())
    except NoServer as error:
        os.write(sys.stdout.fileno(), b"421 4.3.2 No mail server answers, try again later\r\n")
        raise Stopped(TEMPORARY, f"no mail server answers ({error}); try again when it runs") from None
    if not polite:
        raise Stopped(TEMPORARY, "the dialogue ended before its time")


def _queue(options: Options) -> None:
    """`mailserver queue list`, or `flush`, for those whom the server's admin socket answers."""
    if own_data(options.config) is None:
        raise Stopped(NO_PERMISSION, "only root and the server's own user may see the queue")
    config = options.config or str(SYSTEM_CONFIG)
    group = importlib.import_module("mailserver.commands.group")
    group.main(["--config", config, "queue", options.mode])


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid{os.geteuid()}"


def _full_name(user: str) -> str:
    """The first part of GECOS, unless it says no more than the user's name does."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_gecos.partition(",")[0].replace("&", user.capitalize())
    except KeyError:
        return ""
    return "" if name.lower() == user.lower() else name
