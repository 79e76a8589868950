"""What administrators do to an account on disk: `mailbox verify`, `rebuild`, `adopt` and `export`."""
