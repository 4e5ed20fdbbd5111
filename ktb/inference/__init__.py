"""From images to a prediction: preprocessing, runtimes, postprocessing."""
