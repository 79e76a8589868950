"""SEARCH and what grew from it: keys, text, several mailboxes, orders, threads, results that are kept."""
