"""Evaluation: errors between mattes, over data sets, as reports and sheets."""
