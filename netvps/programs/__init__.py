"""Composition roots, one per program: the only places that wire things."""
