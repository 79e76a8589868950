"""The message about a mailbox that is nearly full, in words for its user."""

from __future__ import annotations

from contextlib import suppress

from mailserver import api

__all__ = ["compose"]

#: Mailboxes that are looked at, and that are named.
_MOST_LOOKED_AT, _MOST_NAMED = 200, 5
_TEXT = """\
Your mailbox {address}
is {percent} % full: it holds {used}.

When it is full, new mail for you is put off. The server of whoever
wrote it tries again for some days, and then gives up and tells the
writer. Your mail program can store no drafts then, and no copies of
what you send. What is in the mailbox stays there.

What you can do:

* Empty the trash and the junk folder; what lies there counts, too.
* Delete what is large: sorted by size, your mail program shows it
  first. Mail that you sent counts as well.
* If your mail program only marks messages as deleted, let it remove
  them. It calls that "expunge", "compact" or "purge".
* If you need more room, ask for it at postmaster@{domain}
{largest}
You get the next message of this kind only after the mailbox was less
than {again_below} % full.
"""


async def compose(
    entry: api.Account, folders: api.AccountStore, usage: api.QuotaUsage, percent: int, *, again_below: int,
    hostname: str, epoch: float,
) -> bytes:  # fmt: skip
    """The message. Raises StorageFailure."""
    domain = entry.address.domain
    text = _TEXT.format(
        address=entry.address, percent=percent, used=_used(usage), domain=domain,
        largest=_lines(await _largest(folders)), again_below=again_below,
    )  # fmt: skip
    return api.compose_message(
        sender=f"postmaster@{domain}", sender_name="Postmaster", to=str(entry.address),
        subject=f"Your mailbox is {percent} % full", text=text, epoch=epoch,
        message_id=f"{api.new_queue_id()}.quota@{hostname}",
    )  # fmt: skip


async def _largest(folders: api.AccountStore) -> list[tuple[int, str]]:
    """Octets and name of the largest mailboxes."""
    found = []
    for info in [one for one in await folders.list_mailboxes() if one.selectable][:_MOST_LOOKED_AT]:
        # It may have been deleted since.
        with suppress(api.NotFound):
            found.append(((await folders.status(info.name)).size, info.name))
    return sorted((one for one in found if one[0]), reverse=True)[:_MOST_NAMED]


def _lines(largest: list[tuple[int, str]]) -> str:
    if not largest:
        return ""
    rows = "".join(f"    {_size(octets):>9}  {name}\n" for octets, name in largest)
    return f"\nMost of it is in:\n\n{rows}"


def _used(usage: api.QuotaUsage) -> str:
    said = []
    if usage.octets_limit:
        said.append(f"{_size(usage.octets)} of {_size(usage.octets_limit)}")
    if usage.messages_limit:
        said.append(f"{usage.messages:,} of {usage.messages_limit:,} messages")
    return " and ".join(said)


def _size(octets: int) -> str:
    """As mail programs show it."""
    amount = float(octets)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit in ("bytes", "KB") else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"
