"""What a filter is told beside the steps themselves: macros, with the names and meanings that they have in Sendmail.

A filter that chooses names for a stage gets those of them that are known; otherwise the usual ones for each stage.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailserver import api

__all__ = ["Client", "client_of", "mail_macros", "message_macros", "rcpt_macros", "session_macros", "stage_macros"]

_USUAL = {
    "C": ("j", "{daemon_name}", "{daemon_port}", "v", "_", "{client_addr}", "{client_name}", "{client_port}",
          "{client_ptr}"),
    "H": ("{tls_version}", "{cipher}"),
    "M": ("{auth_type}", "{auth_authen}", "{mail_addr}", "{mail_host}", "{mail_mailer}"),
    "R": ("{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"),
    "T": ("i",),
    "E": ("i",),
    "N": ("i",),
}  # fmt: skip


class Client:
    """Who the client is, as filters are told: a program on this machine is at 127.0.0.1, as with other servers."""

    __slots__ = ("name", "peer", "port", "ptr")

    def __init__(self, peer: str, port: int, ptr: str) -> None:
        self.peer = peer
        self.port = port
        self.ptr = ptr
        self.name = ptr or f"[{peer}]"


def client_of(session: api.Session, findings: api.Findings) -> Client:
    """Its name is the one that leads back to its address, which `iprev` has found out by then."""
    if session.user:
        return Client("127.0.0.1", 0, "localhost")
    ptr = next((found.value("policy.ptr") for found in findings.of("iprev") if found.result == "pass"), "")
    return Client(session.peer, session.port, ptr)


def session_macros(session: api.Session, client: Client, hostname: str) -> dict[str, str]:
    """Of the connection."""
    values = {
        "j": hostname, "v": "mailserver", "_": f"{client.name} [{client.peer}]", "{daemon_name}": session.service,
        "{client_addr}": client.peer, "{client_name}": client.name, "{client_port}": str(client.port),
        "{client_ptr}": client.ptr or "unknown",
    }  # fmt: skip
    if session.local_port:
        values["{daemon_port}"] = str(session.local_port)
    if session.tls:
        values |= {"{tls_version}": session.tls, "{cipher}": session.tls_cipher}
    return values


def mail_macros(session: api.Session, envelope: api.Envelope) -> dict[str, str]:
    """Of the sender. How somebody logged in is not known any more by then; filters look whether it stands there."""
    sender = envelope.sender
    values = {
        "{mail_addr}": str(sender or ""), "{mail_host}": sender.domain if sender else "", "{mail_mailer}": "smtp",
    }  # fmt: skip
    if session.account is not None:
        values |= {"{auth_type}": "AUTH", "{auth_authen}": session.account}
    return values


def rcpt_macros(recipient: api.Recipient) -> dict[str, str]:
    """Of a recipient."""
    address = recipient.address
    return {"{rcpt_addr}": str(address), "{rcpt_host}": address.domain, "{rcpt_mailer}": "smtp"}


def message_macros(queue_id: str) -> dict[str, str]:
    """Of the message: it has its name from the end of its data on."""
    return {"i": queue_id}


def stage_macros(stage: str, agreed: api.Negotiated, values: Mapping[str, str]) -> bytes:
    """The packet that goes before a step."""
    names = agreed.macros.get(stage, _USUAL[stage])
    return api.milter.macros(stage, {name: values[name] for name in names if name in values})
