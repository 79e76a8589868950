"""DNS messages: questions out, answers in. Bounded, linear, and never raising on what servers send (docs/adr/0008)."""
