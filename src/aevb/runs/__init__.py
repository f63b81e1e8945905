"""A trained model with its settings and its data's form: built, used, drawn, reported, refitted."""
