"""Sans-IO IMAP (RFC 3501, RFC 9051 and extensions): bytes in, typed commands out; values in, response bytes out.

`connection.py` is the way in, `responses.py` the way out; `commands.py`, `fetch_items.py` and `search_keys.py` are the
vocabulary between this package and the session.
"""
