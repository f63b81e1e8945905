"""The commands of the command line, one module each. None imports torch before it is called."""
