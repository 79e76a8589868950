"""Camel, Evolution's mail library, without Evolution's windows: it does what lines of JSON tell it to.

Run by the system's own Python, which has the bindings. A line on standard input is [method of Program, arguments], and
the line on standard output that answers it {"value": …} or {"error": …}. Everything else goes to standard error.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import gi

gi.require_version("Camel", "1.2")
from gi.repository import Camel, Gio, GLib  # noqa: E402

_FLAGS = ("answered", "deleted", "draft", "flagged", "seen", "attachments")


class Session(Camel.Session):  # type: ignore[misc]
    """Knows the one password; trusts no certificate that the authorities do not vouch for."""

    password = ""

    def do_authenticate_sync(self, service: Any, mechanism: str | None, cancellable: Any) -> bool:
        service.set_password(self.password)
        if service.authenticate_sync(mechanism, cancellable) != Camel.AuthenticationResult.ACCEPTED:
            raise GLib.Error("the password is refused")
        return True

    def do_trust_prompt(self, service: Any, certificate: Any, errors: Any) -> Any:
        sys.stderr.write(f"not trusted: {errors.value_nicks}\n")
        return Camel.CertTrust.NEVER


class FolderInfo(ctypes.Structure):
    """CamelFolderInfo: the bindings give its relations as addresses."""


FolderInfo._fields_ = [
    ("next", ctypes.POINTER(FolderInfo)), ("parent", ctypes.c_void_p), ("child", ctypes.POINTER(FolderInfo)),
    ("full_name", ctypes.c_char_p), ("display_name", ctypes.c_char_p),
    ("flags", ctypes.c_uint32), ("unread", ctypes.c_int32), ("total", ctypes.c_int32),
]  # fmt: skip


def walk(address: int) -> Iterator[Any]:
    """A folder, its children, and those after it."""
    at = ctypes.cast(address, ctypes.POINTER(FolderInfo))
    while at:
        yield at.contents
        yield from walk(ctypes.cast(at.contents.child, ctypes.c_void_p).value or 0)
        at = at.contents.next


def parsed(message: str) -> Any:
    out = Camel.MimeMessage()
    out.construct_from_input_stream_sync(Gio.MemoryInputStream.new_from_data(base64.b64decode(message), None), None)
    return out


def leaves(part: Any) -> Iterator[dict[str, str | None]]:
    """The parts of a message that have no parts, decoded."""
    content = part.get_content()
    if isinstance(content, Camel.Multipart):
        for number in range(content.get_number()):
            yield from leaves(content.get_part(number))
        return
    if isinstance(content, Camel.MimeMessage):
        yield from leaves(content)
        return
    stream = Gio.MemoryOutputStream.new_resizable()
    content.decode_to_output_stream_sync(stream, None)
    stream.close(None)
    data = base64.b64encode(stream.steal_as_bytes().get_data()).decode()
    kind = content.get_mime_type_field()
    yield {"type": content.get_mime_type(), "charset": kind.param("charset"), "name": part.get_filename(), "data": data}


class Program:
    """What can be told."""

    def __init__(self, directory: str) -> None:
        Camel.init(directory, False)
        Camel.Provider.init()
        self._session = Session(user_data_dir=f"{directory}/data", user_cache_dir=f"{directory}/cache")
        self._session.set_online(True)
        self._opened: dict[str, Any] = {}

    def trust(self, authority: str) -> None:
        """From now on this one alone vouches for servers."""
        Gio.TlsBackend.get_default().set_default_database(Gio.TlsFileDatabase.new(authority))

    def _service(self, protocol: str, kind: Any, password: str, security: str, settings: dict[str, Any]) -> Any:
        self._session.password = password
        service = self._session.add_service(protocol, protocol, kind)
        chosen = service.ref_settings()
        chosen.set_property("security-method", getattr(Camel.NetworkSecurityMethod, security))
        for name, value in settings.items():
            chosen.set_property(name, value)
        return service

    def connect(self, password: str, security: str, settings: dict[str, Any]) -> None:
        """To the IMAP account."""
        self._store = self._service("imapx", Camel.ProviderType.STORE, password, security, settings)
        self._store.set_online_sync(True, None)

    def send(self, password: str, security: str, settings: dict[str, Any], sender: str, to: str, message: str) -> None:
        """A message, by SMTP."""
        transport = self._service("smtp", Camel.ProviderType.TRANSPORT, password, security, settings)
        addresses = []
        for address in (sender, to):
            addresses.append(Camel.InternetAddress())
            addresses[-1].add("", address)
        transport.connect_sync(None)
        transport.send_to_sync(parsed(message), *addresses, None)
        transport.disconnect_sync(True, None)

    def disconnect(self) -> None:
        """What is known of the folders is kept in the directory."""
        for folder in self._opened.values():
            folder.get_folder_summary().save()
        self._store.disconnect_sync(True, None)

    # --- folders

    def folders(self) -> list[str]:
        """The names of all."""
        flags = Camel.StoreGetFolderInfoFlags
        first = self._store.get_folder_info_sync("", flags.RECURSIVE | flags.REFRESH | flags.NO_VIRTUAL, None)
        others = [info.full_name.decode() for start in (first.child, first.next) for info in walk(start)]
        return [first.full_name, *others]

    def setup(self) -> dict[str, str]:
        """What the account assistant takes over from the server: which folder is for what."""
        _, found = self._store.initial_setup_sync(None)
        return dict(found)

    def create(self, parent: str, name: str) -> None:
        self._store.create_folder_sync(parent, name, None)

    def rename(self, old: str, new: str) -> None:
        self._store.rename_folder_sync(old, new, None)

    def delete(self, name: str) -> None:
        self._store.delete_folder_sync(name, None)

    def subscribe(self, name: str) -> None:
        self._store.subscribe_folder_sync(name, None)

    def _folder(self, name: str) -> Any:
        if name not in self._opened:
            self._opened[name] = self._store.get_folder_sync(name, 0, None)
        return self._opened[name]

    def refresh(self, name: str) -> None:
        self._folder(name).refresh_info_sync(None)

    # --- messages

    def messages(self, name: str) -> list[dict[str, Any]]:
        """What is known of them here, without asking the server."""
        folder, out = self._folder(name), []
        for uid in folder.get_uids():
            info = folder.get_message_info(uid)
            if info is None:
                continue
            flags, own = int(info.get_flags()), info.dup_user_flags()
            out.append(
                {
                    "uid": uid,
                    "subject": info.get_subject(),
                    "from": info.get_from(),
                    "size": info.get_size(),
                    "flags": [name for name in _FLAGS if flags & int(getattr(Camel.MessageFlags, name.upper()))],
                    "keywords": sorted(own.get(at) for at in range(own.get_length())) if own else [],
                }
            )
        return out

    def parts(self, name: str, uid: str) -> list[dict[str, str | None]]:
        return list(leaves(self._folder(name).get_message_sync(uid, None)))

    def count(self, name: str, expression: str) -> int:
        """How many messages this finds. (Which ones cannot be asked: the bindings free what is not theirs.)"""
        return int(self._folder(name).count_by_expression(expression, None))

    def flag(self, name: str, uid: str, flags: dict[str, bool], keywords: dict[str, bool]) -> None:
        """Change flags, and tell the server."""
        folder = self._folder(name)
        info = folder.get_message_info(uid)
        for flag, wanted in flags.items():
            mask = getattr(Camel.MessageFlags, flag.upper())
            info.set_flags(mask, mask if wanted else 0)
        for keyword, wanted in keywords.items():
            info.set_user_flag(keyword, wanted)
        folder.synchronize_sync(False, None)

    def append(self, name: str, message: str, flags: list[str]) -> str:
        """The new message's UID, as APPENDUID tells it."""
        info = Camel.MessageInfo.new(None)
        for flag in flags:
            mask = getattr(Camel.MessageFlags, flag.upper())
            info.set_flags(mask, mask)
        _, uid = self._folder(name).append_message_sync(parsed(message), info, None)
        return str(uid)

    def transfer(self, name: str, uids: list[str], target: str, move: bool) -> None:
        self._folder(name).transfer_messages_to_sync(uids, self._folder(target), move, None)

    def expunge(self, name: str) -> None:
        self._folder(name).expunge_sync(None)


def serve(loop: Any, answers: Any) -> None:
    try:
        program = Program(sys.argv[1])
        for line in sys.stdin:
            method, arguments = json.loads(line)
            try:
                answer = {"value": getattr(program, method)(*arguments)}
            except GLib.Error as error:
                answer = {"error": error.message}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except Exception:
        traceback.print_exc()
    loop.quit()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loop = GLib.MainLoop()
    threading.Thread(target=serve, args=(loop, answers), daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main()
