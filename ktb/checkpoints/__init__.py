"""Model files and names: loading, saving, importing and publishing."""
