"""The only package that uses private names of Gradio; tests/page/server/test_gradio_ext.py lists them.

Each is necessary for a guarantee of SECURITY.md.
"""
