"""Files and names of models: reading, writing, importing, publishing."""
