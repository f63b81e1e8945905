"""A stranger's program: read, completed with what is missing, called."""
