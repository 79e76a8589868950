"""DKIM (RFC 6376) and ARC (RFC 8617): what signatures cover, how they are made, and what they are worth."""
