"""How the state's tables came to be, one step a file in ``versions``."""
