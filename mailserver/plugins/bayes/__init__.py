"""What a message is about, compared with what people filed as junk and as good mail: naive Bayes."""
