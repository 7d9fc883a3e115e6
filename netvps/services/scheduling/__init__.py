"""What programs that schedule sessions need."""
