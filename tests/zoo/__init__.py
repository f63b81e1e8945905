"""Right VAEs, each with one-change mutants that are wrong in a stated way and with rewritings that
are still right."""
