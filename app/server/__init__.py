"""Server state: sessions, uploads, memory, logs."""
