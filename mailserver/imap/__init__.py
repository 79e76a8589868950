"""The IMAP server (RFC 3501, RFC 9051 and extensions).

    server.py        what all sessions share, and the listeners        commands/      one file per command
    connection/      bytes in and out, one command at a time           fetch/         what FETCH sends
    session.py       what one connection may do and has done           search/        SEARCH, SORT, THREAD
    selected.py      the mailbox as this client knows it               access/        names and rights
    notify.py        what it wants to hear of others (telling.py)      capabilities/  what is offered
"""
