"""The MLflow mirror: the store's prompt versions as runs that the MLflow UI can group, sort and compare.

The store is the truth; what is mirrored follows from it, so the mirror can be deleted at any time.
"""

from forgekit.tracking.mirroring import default_uri, track

__all__ = ["default_uri", "track"]
