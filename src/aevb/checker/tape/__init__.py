"""What a step computed: a record of every operation on tensors, replayed and measured."""
