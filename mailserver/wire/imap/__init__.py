"""Sans-IO IMAP (RFC 3501, RFC 9051 and extensions): bytes in, typed commands out; values in, response bytes out.

`connection.py` is the way in: it finds where commands end, and `parse/` what they mean. `responses.py` is the way out.
`commands/`, `fetch_items.py` and `search_keys.py` are the vocabulary between this package and the session.
"""
