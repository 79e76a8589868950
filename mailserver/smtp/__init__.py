"""L7: SMTP in and submission (RFC 5321, RFC 6409)."""
