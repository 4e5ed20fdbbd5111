"""Tools for agents by the Model Context Protocol, behind `app.py --mcp`."""
