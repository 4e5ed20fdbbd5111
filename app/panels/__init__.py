"""One module per tab: a stored result in, HTML out. Everything that is text is escaped."""
