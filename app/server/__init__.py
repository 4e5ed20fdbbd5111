"""What the server keeps: sessions, uploads, memory, logs."""
