"""`mailbox verify`: everything about an account on disk that is not as it should be. Changes nothing.

Right for a stopped server, and for a running one by way of `maintenance.py`, which lets the account stand still and
looks twice. What the server is about to do anyway (a rename that the index has noted, a file that is not yet in the
index) is no finding, or a notice.
"""

from __future__ import annotations

import os
import stat

from mailserver.model.mailbox import INBOX, QuotaUsage
from mailserver.net import files
from mailserver.storage.maildir import folder_names, layout, tree
from mailserver.storage.maildir.annotations import ACCOUNT_METADATA
from mailserver.storage.maildir.checked import Damaged, read_checked
from mailserver.storage.maildir.repair.findings import Finding, Findings, Problem, Severity
from mailserver.storage.maildir.repair.inspection import FolderOnDisk, directories, read_folder
from mailserver.storage.maildir.repair.verify_folder import check_annotations, check_folder, usage_of
from mailserver.storage.maildir.repair.verify_index import IndexCheck

__all__ = ["problems_of_store", "verify_account"]


def verify_account(
    path: str, *, full: bool = False, live: bool = False, epoch: int = 0, usage: QuotaUsage | None = None
) -> list[Finding]:
    """All findings of the account at this path, the worst first.

    `full` reads every message, and compares all that is rendered instead of samples. `live`: a server is running on it.
    The account's counters are compared if its file is of this `epoch` (a clean stop), or with `usage`. Raises OSError.
    """
    out = Findings()
    state = _check_state(path, out)
    found = directories(path)
    _check_subscriptions(path, out)
    check_annotations(f"{path}/{ACCOUNT_METADATA}", "", out)
    _check_leftovers(path, out)
    mailbox_ids: dict[str, str] = {}
    octets = messages = 0
    with IndexCheck(path, out, full=full, live=live) as index:
        for directory in found:
            if directory.name is None:
                out.add(Problem.FOLDER_UNREACHABLE, directory.dirname, "", directory.text)
            elif directory.name != INBOX and folder_names.directory(directory.name) != directory.dirname:
                text = f"as the mailbox {directory.name} we would write it {folder_names.directory(directory.name)}"
                out.add(Problem.FOLDER_NAME_FOREIGN, directory.dirname, "", text)
            folder = read_folder(path, directory.dirname)
            check_folder(folder, out, full=full)
            _check_identity(folder, state, mailbox_ids, out)
            removed = index.check(folder)
            if directory.name is not None:
                used = usage_of(folder, removed)
                octets, messages = octets + used[0], messages + used[1]
        index.check_folders(set(mailbox_ids))
    told = (state.octets, state.messages) if epoch and state.epoch == epoch else (octets, messages)
    if usage is not None:
        told = (usage.octets, usage.messages)
    if told != (octets, messages):
        text = f"{told[0]} octets in {told[1]} messages are counted, {octets} in {messages} are there"
        out.add(Problem.QUOTA_WRONG, "", layout.ACCOUNT_FILE, text)
    return out.all()


def _check_state(path: str, out: Findings) -> layout.AccountState:
    try:
        fields = read_checked(f"{path}/{layout.ACCOUNT_FILE}", layout.ACCOUNT_FILE)
        return layout.AccountState(**{name: int(fields.get(name, "0")) for name in layout.AccountState.__slots__})
    except FileNotFoundError:
        out.add(Problem.ACCOUNT_STATE_MISSING, "", layout.ACCOUNT_FILE, "the file is missing")
    except (Damaged, ValueError) as error:
        out.add(Problem.ACCOUNT_STATE_DAMAGED, "", layout.ACCOUNT_FILE, str(error))
    return layout.AccountState()


def _check_identity(
    folder: FolderOnDisk, account: layout.AccountState, mailbox_ids: dict[str, str], out: Findings
) -> None:
    state = folder.state
    if state is None:
        return
    if 0 < account.last_uid_validity < state.uid_validity:
        text = f"UIDVALIDITY {state.uid_validity} is above the account's highest, {account.last_uid_validity}"
        out.add(Problem.UIDVALIDITY_ABOVE_HIGHEST, folder.dirname, "", text)
    other = mailbox_ids.setdefault(state.mailbox_id, folder.dirname)
    if other != folder.dirname:
        text = f"MAILBOXID {state.mailbox_id} is also that of {other or INBOX}"
        out.add(Problem.MAILBOXID_TWICE, folder.dirname, "", text)


def _check_subscriptions(path: str, out: Findings) -> None:
    name = layout.SUBSCRIPTIONS
    try:
        data = files.read_file(f"{path}/{name}", layout.MAX_SUBSCRIPTIONS_SIZE)
    except FileNotFoundError:
        there = os.path.lexists(f"{path}/{name}")
        problem = Problem.SUBSCRIPTIONS_DAMAGED if there else Problem.SUBSCRIPTIONS_MISSING
        out.add(problem, "", name, "not a regular file" if there else "the file is missing")
        return
    except OSError as error:
        out.add(Problem.SUBSCRIPTIONS_DAMAGED, "", name, str(error))
        return
    for text in layout.subscription_damage(data):
        out.add(Problem.SUBSCRIPTIONS_DAMAGED, "", name, text)


def _check_leftovers(path: str, out: Findings) -> None:
    for entry in os.scandir(path):
        status = entry.stat(follow_symlinks=False)
        if entry.name.startswith((layout.MAKING, layout.GONE)):
            out.add(Problem.LEFTOVER, "", entry.name, "a folder that was being made or removed")
        elif entry.name == tree.INTENT:
            _check_intent(path, out)
        elif layout.is_half_written(entry):
            out.add(Problem.LEFTOVER, "", entry.name, "a file that was being replaced")
        if status.st_mode & 0o077 and not stat.S_ISLNK(status.st_mode):
            out.add(Problem.OPEN_TO_OTHERS, "", entry.name, f"its mode is {stat.S_IMODE(status.st_mode):04o}")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        out.add(Problem.OPEN_TO_OTHERS, "", "", f"its mode is {mode:04o}")


def _check_intent(path: str, out: Findings) -> None:
    try:
        read_checked(f"{path}/{tree.INTENT}", tree.INTENT)
    except FileNotFoundError:
        return
    except Damaged as error:
        out.add(Problem.INTENT_DAMAGED, "", tree.INTENT, str(error))
    else:
        out.add(Problem.INTENT_LEFT, "", tree.INTENT, "folders that were being renamed when the server was killed")


def problems_of_store(data_dir: str, *, full: bool = False) -> dict[str, list[Finding]]:
    """The findings, without notices, of every account (`domain/localpart`) of a stopped server's data that has any."""
    out = {}
    for domain in sorted(os.scandir(data_dir), key=lambda entry: entry.name):
        if domain.name.startswith(".") or not domain.is_dir(follow_symlinks=False):
            continue
        for local in sorted(os.scandir(domain.path), key=lambda entry: entry.name):
            if local.name.startswith(".") or not os.path.isdir(f"{local.path}/cur"):
                continue
            found = [f for f in verify_account(local.path, full=full) if f.severity is not Severity.NOTICE]
            if found:
                out[f"{domain.name}/{local.name}"] = found
    return out
