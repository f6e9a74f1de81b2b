"""What happened, and where pointers point: the one room that writes to the database."""
