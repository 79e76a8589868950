"""L2, sans-IO: reading messages (RFC 5322, RFC 2045-2049, RFC 2183, RFC 2231). Linear, bounded, never raising."""
