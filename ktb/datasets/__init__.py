"""Custom datasets: the YAML file, its schema, and the pairing of files."""
