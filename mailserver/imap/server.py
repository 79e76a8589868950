"""The IMAP server: what its sessions share, and the listeners that make them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import Contribution
from mailserver.imap.access.layout import Layout
from mailserver.imap.access.namespaces import Namespaces
from mailserver.imap.capabilities.announced import capability_list
from mailserver.imap.capabilities.offers import Offers
from mailserver.imap.commands import COMMANDS
from mailserver.imap.connection.protocol import ImapProtocol
from mailserver.imap.connection.watch import Watch
from mailserver.imap.fetch.places import Places
from mailserver.imap.message_limit import announced
from mailserver.imap.plugin_commands import adapted
from mailserver.imap.search.sorting_pieces import SortingPieces
from mailserver.imap.session import AccountCounts, CommandSpec, Services
from mailserver.imap.settings import ImapSettings
from mailserver.net.connections import ConnectionTable
from mailserver.net.listener import Listener
from mailserver.net.login import LoginService
from mailserver.net.settings import LimitsSettings
from mailserver.net.tls import TlsContexts
from mailserver.ports.directory import Directory
from mailserver.ports.store import MailStore
from mailserver.wire.imap.limits import Limits
from mailserver.wire.imap.parse import PARSERS, Parser

__all__ = ["ImapServer"]

#: Threads for reading through messages; more would only wait for each other.
_WORKERS = 2


class ImapServer:
    """Everything between a listener and the store. `listeners` gives the services to run; `close` ends its threads."""

    def __init__(
        self,
        settings: ImapSettings,
        limits: LimitsSettings,
        *,
        store: MailStore,
        login: LoginService,
        hooks: Hooks,
        table: ConnectionTable,
        tls: TlsContexts | None,
        max_message_size: int,
        contributed: Sequence[Contribution] = (),
        directory: Directory | None = None,
    ) -> None:
        """A `directory` of None: every account and domain that is named exists (RFC 4314 identifiers)."""
        self._settings = settings
        self._limits = limits
        self._table = table
        self._tls = tls
        commands, parsers, capabilities = _commands(contributed, jmap=bool(settings.jmap_url))
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="imap")
        layout = Layout(settings.namespace_prefix, settings.separator)
        self.services = Services(
            settings=settings,
            limits=limits,
            layout=layout,
            namespaces=Namespaces(
                layout, settings.other_users_prefix, settings.shared_prefix, settings.shared_accounts
            ),
            directory=directory,
            store=store,
            login=login,
            hooks=hooks,
            tasks=set(),
            workers=self._workers,
            sorting=SortingPieces(self._workers),
            places=Places(),
            max_message_size=max_message_size,
            capabilities=capability_list(
                commands.values(), login, append_limit=max_message_size,
                contributed=[*capabilities, *announced(settings)],
            ),
            offers=Offers(settings.disabled_capabilities, settings.disabled_for),
            commands=commands,
            counts=AccountCounts(settings.connections_per_account),
            watch=Watch(),
            wire=_wire_limits(limits, max_message_size),
            parsers=parsers,
            tls=None if tls is None else tls.context("imap", ["imap"]),
        )  # fmt: skip

    def listeners(self, inherited: dict[str, Sequence[socket.socket]] | None = None) -> list[Listener]:
        """The listeners of the settings: `imap` with STARTTLS, `imaps` with TLS from the start.

        Args:
            inherited: sockets of the service manager by listener name; they replace the addresses.
        """
        given = inherited or {}
        made = []
        for name, addresses in (("imap", self._settings.listen), ("imaps", self._settings.listen_tls)):
            sockets = given.get(name, ())
            if not addresses and not sockets:
                continue
            context = None
            if name == "imaps":
                if self._tls is None:
                    continue
                context = self._tls.context(name, ["imap"])
            made.append(
                Listener(
                    name, addresses, self._protocol, tls=context, inherited=sockets, table=self._table,
                    drain=self._limits.drain, handshake_timeout=self._limits.tls_handshake,
                )
            )  # fmt: skip
        return made

    def update(self, limits: LimitsSettings) -> None:
        """Put other limits in place: time-outs change at once, sizes for new connections."""
        self._limits = self.services.limits = limits
        self.services.wire = _wire_limits(limits, self.services.max_message_size)

    async def close(self) -> None:
        """After the listeners ended: let sessions give back their mailboxes, and end the threads."""
        while self.services.tasks:
            await asyncio.wait(self.services.tasks)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _protocol(self, listener: Listener) -> asyncio.BaseProtocol:
        return ImapProtocol(self.services, listener)


def _wire_limits(limits: LimitsSettings, append: int) -> Limits:
    return Limits(
        line_before_login=limits.imap_line_before_login,
        literals_before_login=limits.imap_line_before_login,
        line=limits.imap_line,
        literals=limits.imap_line,
        append=append,
    )


def _commands(
    contributed: Sequence[Contribution], *, jmap: bool
) -> tuple[dict[str, CommandSpec], dict[bytes, Parser], list[str]]:
    """The commands that are served, their parsers, and the capabilities that plugins bring.

    A plugin's command goes with the first of its capabilities when that is switched off. `jmap`: there is
    a JMAP server. Raises ValueError: its name is taken.
    """
    commands, parsers, capabilities = dict(COMMANDS), dict(PARSERS), list[str]()
    if not jmap:
        # RFC 9698 §4
        del commands["GETJMAPACCESS"], parsers[b"GETJMAPACCESS"]
    for contribution in contributed:
        name = contribution.name.upper()
        if name in COMMANDS or name.encode("ascii") in PARSERS:
            raise ValueError(f"plugin {contribution.plugin}: {name} is an IMAP command already")
        command, brings = contribution.value
        made = adapted(name, command, "".join(brings[:1]).upper())
        commands[name], parsers[name.encode("ascii")] = made.spec, made.parser
        capabilities.extend(brings)
    return commands, parsers, capabilities
