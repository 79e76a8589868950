"""FETCH: decided once per command, answered batch by batch from arrays, index and messages."""
