"""The durable queue: mail that was accepted and cannot be delivered at once (docs/internals-queue.md)."""
