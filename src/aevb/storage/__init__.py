"""The files of a run: saves with checksums, and the folder that holds them."""
