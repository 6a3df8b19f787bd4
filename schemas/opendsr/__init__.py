"""OpenDSR on the wire: what requests, answers and callbacks say, in both dialects that are spoken.

``model`` is what is said, ``wire`` how JSON is read; ``requests`` and ``answers`` turn one into the
other. What is read is checked: an error names the field and the fault, never a value.
"""
