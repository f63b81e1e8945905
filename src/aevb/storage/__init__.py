"""What is on disk: saves with checksums, and the folder of a run."""
