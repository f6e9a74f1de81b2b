"""Personal data in texts: where it stands, and placeholders for it."""
