"""Tools that damage files and give them to the readers."""
