"""L7: the IMAP server (RFC 3501, RFC 9051 and extensions): connections, sessions, one file per command."""
