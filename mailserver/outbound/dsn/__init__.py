"""Delivery status notifications (RFC 3461 to 3464, RFC 6522, RFC 6533): what senders are told of their messages."""
