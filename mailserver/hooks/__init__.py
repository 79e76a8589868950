"""L4: the plugin mechanism: contexts, four kinds of hook, how they are called."""
