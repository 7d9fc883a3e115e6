"""Tasks, their orders and reports."""
