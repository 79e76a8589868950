"""A filter on the real libmilter: what it does with a message, the message's own field X-Do says.

Run by the system's Python, with python3-milter: program SOCKET LOG. Each line of LOG is a step as the filter saw it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import Milter

LOG = sys.argv[2]


class Filter(Milter.Base):  # type: ignore[misc]
    def note(self, step: str, *values: object, macros: tuple[str, ...] = ()) -> None:
        found = {name: self.getsymval(name) for name in macros}
        with open(LOG, "a") as log:
            log.write(json.dumps([step, *map(str, values), {k: v for k, v in found.items() if v}]) + "\n")

    @Milter.noreply  # type: ignore[untyped-decorator]
    def connect(self, name: str, family: int, address: Any) -> Any:
        self.note("connect", name, address and address[0], macros=("j", "{client_addr}", "{daemon_name}"))
        return Milter.CONTINUE

    def hello(self, name: str) -> Any:
        self.note("helo", name)
        return Milter.REJECT if name == "refused.test" else Milter.CONTINUE

    def envfrom(self, sender: str, *parameters: str) -> Any:
        self.note("mail", sender, *parameters, macros=("{mail_addr}", "{auth_authen}", "{auth_type}", "{tls_version}"))
        self.todo: list[str] = []
        self.head: list[list[str]] = []
        self.size = 0
        if "mailreply" in sender:
            self.setreply("554", "5.7.9", "first 100%%", "second")
            return Milter.REJECT
        if "acceptall" in sender:
            return Milter.ACCEPT
        return Milter.DISCARD if "vanish" in sender else Milter.CONTINUE

    def envrcpt(self, recipient: str, *parameters: str) -> Any:
        self.note("rcpt", recipient, *parameters, macros=("{rcpt_addr}",))
        return Milter.TEMPFAIL if "ben" in recipient else Milter.CONTINUE

    def data(self) -> Any:
        self.note("data")
        return Milter.CONTINUE

    def header(self, name: str, value: str) -> Any:
        self.head.append([name, value])
        if name.lower() == "x-do":
            self.todo = value.split()
        return Milter.CONTINUE

    def eoh(self) -> Any:
        self.note("header", json.dumps(self.head))
        return Milter.REJECT if "rejecthead" in self.todo else Milter.CONTINUE

    def body(self, chunk: bytes) -> Any:
        self.size += len(chunk)
        if "skip" in self.todo:
            return Milter.SKIP
        return Milter.CONTINUE

    def eom(self) -> Any:
        self.note("eom", self.size, macros=("i",))
        for what in self.todo:
            if what == "add":
                self.addheader("X-Added", "first\n\tsecond")
            elif what == "insert":
                self.addheader("X-Top", "on top", 0)
            elif what == "second":
                self.addheader("X-Second", "second", 2)
            elif what == "change":
                self.chgheader("X-Old", 2, "changed")
            elif what == "delete":
                self.chgheader("X-Old", 1, "")
            elif what == "beyond":
                self.chgheader("X-Old", 9, "new")
            elif what == "body":
                self.replacebody("new body\n" + "." * 70 + "\r\n")
                self.replacebody("more\r\n")
            elif what == "quarantine":
                self.quarantine("smells of spam")
            elif what == "progress":
                self.progress()
            elif what in ("REJECT", "TEMPFAIL", "DISCARD", "ACCEPT"):
                return getattr(Milter, what)
            elif what == "reply":
                self.setreply("451", "4.7.7", "come again")
                return Milter.TEMPFAIL
        return Milter.CONTINUE

    def abort(self) -> Any:
        self.note("abort")
        return Milter.CONTINUE

    def close(self) -> Any:
        self.note("close")
        return Milter.CONTINUE


Milter.factory = Filter
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.QUARANTINE)
Milter.runmilter("test", sys.argv[1], 240)
