"""L9: the command line. `main` is the console script; each command is a module of its own, imported when it is used.

Modules are imported by name at run time here, in `group.py` and where a command has work for the whole server, and
nowhere else: `mailserver account list` must not pay for the import of the server, and a message of cron not even for
that of the other commands. Exit codes: 0 good, 1 failed, 2 wrong usage or configuration; sendmail has its own.
"""

from __future__ import annotations

import importlib
import os.path
import sys
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

#: Name → one line of help (told without importing the command).
COMMANDS = {
    "account": "Accounts: add, remove, list, password, quota.",
    "alias": "Addresses that stand for others: add, remove, list.",
    "ban": "Networks that are not listened to: list, add, lift.",
    "bayes": "What is junk and what is not: train, show, reset.",
    "check": "Look for mistakes in the configuration, without starting.",
    "config": "Print the default configuration file.",
    "domain": "Domains that are served: add, remove, list.",
    "history": "What became of messages.",
    "junk": "Points for Junk and for a refusal: set, list.",
    "mailbox": "Mail on disk: verify, rebuild, adopt, export.",
    "plugin": "Plugins and the hooks they can use: list, hooks.",
    "queue": "Mail that waits to be sent: list, hold, retry, drop, …",
    "report": "What is measured every day: tls.",
    "send": "Send a message as an account, from a file or standard input.",
    "sender": "Senders: allow, block, remove, list.",
    "sendmail": "Send a message as cron, PHP and mail programs do.",
    "serve": "Run the server.",
    "tls-policy": "TLS with other mail servers: show, list, refresh.",
    "suppression": "Addresses that mail came back from: list, add, remove.",
    "vacation": "Answers for those who are away: set, show, off.",
    "why": "The whole story of one message.",
}

#: What the program does when a link to it has this name.
_OTHER_NAMES = ("sendmail", "mailq", "newaliases")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = os.path.basename(sys.argv[0])
    if arguments is None and name in _OTHER_NAMES:
        importlib.import_module("mailserver.commands.mta.program").main(name, words)
    elif words[:1] == ["sendmail"] and (words[1:2] == ["--"] or not words[1:2] or not words[1].startswith("--")):
        importlib.import_module("mailserver.commands.mta.program").main("sendmail", words[1:])
    else:
        importlib.import_module("mailserver.commands.group").main(words)
