"""How things are shown to people: colours, glyphs, sizes, times, and text that steers no terminal.

The CLI and the terminal UI share it, so that both say the same in the same way. It imports nothing of netvps.
"""
