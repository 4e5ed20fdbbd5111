"""Everything that knows internals of Gradio."""
