"""The zoo: right VAEs, wrong mutants of each with one change, and rewritings that are still right.

A mutant's class of mistake is stated with it.
"""
