"""The experiments of a store, and which of them are the arms of a study."""

from __future__ import annotations

from forgekit.errors import ParameterError, did_you_mean
from forgekit.store import Store


def arms(store: Store, study: str | None = None) -> list[str]:
    """Return the experiments of a study: the one of that name and all `study`/…; None for all in the store.

    Raises:
        ParameterError: there is no such experiment.
    """
    known = [row["experiment"] for row in store.rows("select distinct experiment from prompts order by all")]
    wanted = [name for name in known if study is None or name == study or name.startswith(f"{study}/")]
    if study is not None and not wanted:
        listed = ", ".join(known) or "none yet"
        raise ParameterError(f"no experiment is called {study!r}.{did_you_mean(study, known)} The store has: {listed}")
    return wanted
