"""Question-answering judges."""
KNOWN = {}
def from_address(address): return None
