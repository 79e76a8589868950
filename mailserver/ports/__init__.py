"""L3: Protocols, what the core needs from the world. Their docstrings are contracts."""
