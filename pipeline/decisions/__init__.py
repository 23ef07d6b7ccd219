"""The registry's state machine: a log of decisions that is the truth, and the signatures that prove them."""
