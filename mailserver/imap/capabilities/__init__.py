"""What is announced, what the operator switched off, and what a command needs of it."""
