"""Services of images for callers."""
