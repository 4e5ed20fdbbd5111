"""Looking into the fusion: where a pixel looked, who fed it, what the attention says, what it reacts to."""
