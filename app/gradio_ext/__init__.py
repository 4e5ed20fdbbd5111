"""The only place that uses private names of Gradio; tests/page/server/test_gradio_ext.py names each of them.

A promise of SECURITY.md needs every one.
"""
