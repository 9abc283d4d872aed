"""The web page of `demo.py`: its controls, tabs and limits."""
