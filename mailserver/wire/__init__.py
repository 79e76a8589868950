"""L2: sans-IO: bytes in, values out; no asyncio."""
