"""L7: implementations of the store and of the account directory."""
