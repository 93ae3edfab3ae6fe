"""How the embedded models were made and measured; not part of the package."""
