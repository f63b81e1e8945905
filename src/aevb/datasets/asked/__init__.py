"""What is asked of single cells of a table: conditions on them, and values for missing ones."""
