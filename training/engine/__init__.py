"""The training loop: trainer, optimiser, state, validation, ranks."""
