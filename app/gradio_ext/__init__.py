"""What knows Gradio from within."""
