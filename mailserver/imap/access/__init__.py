"""Which mailboxes this user reaches, by what names, and with which rights."""
