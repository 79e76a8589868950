"""A connection on the event loop: input, output, one command at a time, waking up and time-outs."""
