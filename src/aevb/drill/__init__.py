"""The drill: the tutorial's experiment, its six checks, and a mock interview on a clock."""
