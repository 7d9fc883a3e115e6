"""What runners do for calls over their streams: measuring, logs, files."""
