"""The paper's tables: the steps and reports of `reproduce.py`."""
