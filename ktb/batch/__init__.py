"""Many pairs: resumable runs over folders and lists."""
