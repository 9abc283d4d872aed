"""The web page of demo.py: its tabs, limits and temporary files."""
