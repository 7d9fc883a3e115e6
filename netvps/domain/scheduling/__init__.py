"""What keeps programs that schedule sessions apart."""
