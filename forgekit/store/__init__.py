"""The record: one DuckDB file, its tables and views, the images beside it, and who is working on what."""

from forgekit.store.file import Store, open_store

__all__ = ["Store", "open_store"]
