"""What a prediction is saved as: masks, figures, reports, arrays."""
