"""What is looked at before a start: who runs the server, its certificate, who could read or write what it keeps."""

from __future__ import annotations

import os
import platform
import pwd
import stat
from pathlib import Path

from mailserver.app.config import Config
from mailserver.app.load import Loaded, Problem
from mailserver.model.address import normalize_domain
from mailserver.model.errors import InvalidInput
from mailserver.net.tls import TlsContexts, check_certificate
from mailserver.ports.directory import Directory

__all__ = ["account_warnings", "environment_problems", "environment_warnings", "our_name"]


def environment_problems(loaded: Loaded) -> list[Problem]:
    """Reasons not to start, with the setting that names the file."""
    found = []
    tls = loaded.config.tls
    # Without a key_file the key is in the certificate's file (as some ACME clients write it).
    for setting, name, secret in (
        ("cert_file", tls.cert_file, not tls.key_file),
        ("key_file", tls.key_file, True),
        ("client_ca_file", tls.client_ca_file, False),
    ):
        if name and (text := _file_fault(Path(name), secret=secret)):
            found.append(loaded.document.problem(("tls", setting), text))
    if tls.key_file and not tls.cert_file:
        found.append(loaded.document.problem(("tls", "key_file"), "is of no use without cert_file"))
    if tls.cert_file and not found:
        try:
            TlsContexts(tls, loaded.data_dir, "localhost").context("check")
        except InvalidInput as error:
            found.append(loaded.document.problem(("tls", "cert_file"), error.text))
    for key, smarthost in loaded.config.smarthosts.items():
        for setting, name, secret in (
            ("password_file", smarthost.password_file, True), ("ca_file", smarthost.ca_file, False)
        ):  # fmt: skip
            if name and (text := _file_fault(Path(name), secret=secret)):
                found.append(loaded.document.problem(("smarthosts", key, setting), text))
    if text := _directory_fault(loaded.data_dir):
        found.append(loaded.document.problem(("data_dir",), text))
    return found


def environment_warnings(loaded: Loaded) -> list[str]:
    """What should be different, but is no reason not to serve."""
    found = []
    if loaded.config.tls.cert_file:
        found += check_certificate(Path(loaded.config.tls.cert_file))
    if os.geteuid() != 0:
        return found
    return [
        *found,
        "running as root: a fault in this program would own the machine; give it a user of its own, as systemd/ does",
    ]


def account_warnings(config: Config, directory: Directory) -> list[str]:
    """Names of accounts in the configuration that are nobody's: whoever gets such an address gets what goes with it."""
    return [
        f"imap.quota_administrators: there is no account {name}; make it, or take the name out"
        for name in config.imap.quota_administrators
        if directory.account(name) is None
    ]


def our_name(configured: str) -> str:
    """The host name that we use: as configured, else this machine's, in the form that SMTP asks for."""
    if configured:
        return configured
    name = platform.node()
    try:
        return normalize_domain(name)
    except InvalidInput:
        return "localhost"


def _file_fault(path: Path, *, secret: bool) -> str:
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as error:
        return f"{path}: {error.strerror}"
    if secret and mode & stat.S_IRWXO:
        return f"{path}: a secret that every user of this machine can reach; run: chmod o= {path}"
    return ""


def _directory_fault(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{path}: is not a directory"
    if found.st_mode & stat.S_IWOTH:
        return f"{path}: every user of this machine can write to it; run: chmod o-w {path}"
    if found.st_uid != os.geteuid():
        owner = _user(found.st_uid)
        return f"{path}: belongs to user {owner}, and this runs as {_user(os.geteuid())}; run it as {owner}"
    return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
