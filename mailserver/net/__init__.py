"""L5: the asyncio toolkit: listeners, TLS, logins, durable files."""
