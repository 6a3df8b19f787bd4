"""Export: a subject's rows gathered out of a lake, and packed for people and machines."""
