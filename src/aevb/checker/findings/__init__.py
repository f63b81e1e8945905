"""What is wrong: the evidence of one step, and the judgements made from it."""
