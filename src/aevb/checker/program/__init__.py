"""A stranger's program: read it, fill in missing parts with stand-ins, call it."""
