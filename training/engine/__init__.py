"""The training loop: trainer, optimiser, state, validation, processes."""
