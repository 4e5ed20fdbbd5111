"""Custom datasets: their YAML file, its schema, and the pairing of files."""
