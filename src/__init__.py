"""Prune, train, evaluate and deploy MODNet: scripts and what all share; each room says what it is for."""
from src.environment import find_caches, import_opencv, report_to_nobody

import_opencv()
find_caches()
report_to_nobody()
