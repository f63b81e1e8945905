"""Figures about a trained model, each with a unit and a standard error."""
