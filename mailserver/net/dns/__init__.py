"""The resolver: questions to the name servers of the configuration or the system, answers kept for their time."""
