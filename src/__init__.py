"""Prune, train, evaluate and deploy MODNet: scripts and what all share; each room says what it is for."""
from src.environment import find_caches, import_opencv

import_opencv()
find_caches()
