"""Parts of the screen that pages share."""
