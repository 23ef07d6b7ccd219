"""How well annotators of the same images agree, how good each is, and one mask out of several."""
