"""From two sets of facts to the operations between them, in one order that is the same for everyone. Pure."""
