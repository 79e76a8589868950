"""Settings of the mail store: the section `[storage]`."""

from __future__ import annotations

from pydantic import Field

from mailserver.hooks.settings import Duration, Settings, Size

__all__ = ["StorageSettings"]


class StorageSettings(Settings):
    """How mail is kept. The defaults suit one machine with one disk; nothing here changes what is promised."""

    commit_threads: int = Field(
        8, ge=1, le=64, description="Threads that write messages to disk; one directory fsync serves a whole batch."
    )
    read_threads: int = Field(
        4, ge=1, le=64, description="Threads that read messages and work on the index for IMAP."
    )
    message_in_memory: Size = Field(
        1 << 20, ge=4096, description="A message above this size goes to a file while it still comes in."
    )
    memory: Size = Field(
        128 << 20,
        ge=1 << 20,
        description="Memory for all messages that are coming in; when it is used up, even small ones go to files. It is"
        " never more than a fifth of what a container or systemd (MemoryMax) grants the server.",
    )
    open_indexes: int = Field(
        100, ge=1, le=10_000, description="Index databases kept open; each costs three file descriptors and 300 KiB."
    )
    loaded_accounts: int = Field(
        1_000, ge=1, description="Accounts whose folder lists and counters stay in memory while nobody uses them."
    )
    watch_interval: Duration = Field(
        5.0, ge=0.1, description="How often open mailboxes are checked for what other programs wrote."
    )
    flush_delay: Duration = Field(
        0.5,
        ge=0,
        le=10.0,
        description="How long flag changes and removals gather in the index before the files are renamed and unlinked.",
    )
    fill_delay: Duration = Field(
        1.5, ge=0, description="How long an account must be quiet before new messages are added to its index."
    )
    max_mailboxes: int = Field(10_000, ge=10, description="Mailboxes that one account may have.")
