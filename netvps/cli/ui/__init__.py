"""Input and output of all commands: arguments, tables, progress, the terminal."""
