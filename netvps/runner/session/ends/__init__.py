"""How the runs of a session begin and end."""
