"""L7: mail on its way to other servers: where it goes, how well the way must be protected, the dialogue, the result."""
