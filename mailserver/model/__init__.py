"""L1: values. Standard library only, no I/O, no asyncio."""
