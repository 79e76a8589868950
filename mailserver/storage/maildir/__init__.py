"""Mail as files: Maildir++ with UIDs in the names, and an index that may be deleted."""
