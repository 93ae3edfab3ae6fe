"""What runs elsewhere: servers of models, Ray, MLflow. Each is asked whether it answers, for some seconds at most."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from urllib.parse import urlsplit

from forgekit.checkup.findings import FAULT, OK, WARNING, Finding
from forgekit.errors import first_line, without_secrets
from forgekit.models.naming import settings_of
from forgekit.models.server import ADDRESS
from forgekit.store import Store
from forgekit.tracking.connection import DATABASE, ask_for_health

RAY_PORT = 6379  # of a cluster, where its address names none
PATIENCE_S = 3.0
KEY = "OPENAI_API_KEY"
CAUSES = ("Connection refused", "Name or service not known", "timed out", "No route to host", "no answer within")


def server(address: str) -> Finding:
    """Ask a server of models whether it has the one that its address names."""
    import requests

    found = ADDRESS.fullmatch(address)
    if not found:
        form = "write it as http://host:8000/v1#model"
        return Finding(address.partition("#")[0], "server", FAULT, "the address names no model there", form)
    base, model = found["base_url"].rstrip("/"), found["model"].partition("?")[0]
    key = {"Authorization": f"Bearer {os.environ[KEY]}"} if os.environ.get(KEY) else {}
    try:
        answer = requests.get(f"{base}/models", headers=key, timeout=PATIENCE_S)
        if answer.status_code in (401, 403):
            told = f"{base} refuses the key ({answer.status_code})"
            return Finding(model, "server", FAULT, told, f"put the server's key into the environment variable {KEY}")
        answer.raise_for_status()
        served = [str(each["id"]) for each in answer.json()["data"]]
    except (requests.ConnectionError, requests.Timeout) as error:
        return silent(address, error)
    except (requests.RequestException, ValueError, LookupError, TypeError):
        told = f"{base} answers, but not with a list of its models (status {answer.status_code})"
        remedy = f"its address ends in /v1 as a rule; --dry-run asks {model!r} itself"
        return Finding(model, "server", WARNING, told, remedy)
    if model in served:
        return Finding(model, "server", OK, f"{base} answers and has it")
    if not served:
        return Finding(model, "server", FAULT, f"{base} answers, but has no model", "load a model there")
    remedy = f"start it with that model, or name one that it has: {base}#{served[0]}"
    return Finding(model, "server", FAULT, f"{base} answers, but has {', '.join(served[:5])}", remedy)


def silent(address: str, error: BaseException) -> Finding:
    """Return the finding that a server does not answer; why not, the client wraps into several errors."""
    base, _, model = address.partition("#")
    told = first_line(error)
    cause = next((known for known in CAUSES if known in told), told)
    remedy = f"start it, or correct the address: `curl {base}/models` must answer from this machine"
    return Finding(model.partition("?")[0] or base, "server", FAULT, f"{base} does not answer: {cause}", remedy)


def ray(name: str) -> Finding:
    """Look whether Ray is installed and the cluster of a pool of workers answers; it is not imported."""
    address = settings_of(name)[1].get("address") or os.environ.get("RAY_ADDRESS", "")
    if find_spec("ray") is None:
        return Finding(name, "ray", FAULT, "Ray is not installed", "pip install 'forgekit[ray]'")
    if address in ("", "auto", "local"):
        told = "no address is given: its workers start on this machine, or in the cluster that this machine is part of"
        return Finding(name, "ray", OK, told)
    try:
        place = urlsplit(address if "://" in address else f"ray://{address}")
        socket.create_connection((place.hostname or "", place.port or RAY_PORT), PATIENCE_S).close()
    except (OSError, ValueError) as error:
        remedy = "start it with `ray start --head`; RAY_ADDRESS says where it is"
        return Finding(name, "ray", FAULT, f"no cluster answers at {address}: {first_line(error)}", remedy)
    return Finding(name, "ray", OK, f"{address} accepts connections")


def mlflow(store: Store, uri: str | None) -> Finding:
    """Look whether there is somewhere to mirror to: the server at `uri`, or the database beside the store."""
    if uri is None or not uri.startswith(("http://", "https://")):
        made = "" if (store.folder / DATABASE).exists() else ", made when it is needed"
        return Finding("mlflow", "mirror", OK, without_secrets(uri or "") or f"{DATABASE} beside the store{made}")
    shown = without_secrets(uri)
    try:
        ask_for_health(uri)
    except OSError as error:
        remedy = "start it, or leave tracking_uri out: the mirror is then a file beside the store"
        return Finding("mlflow", "mirror", FAULT, f"{shown}: {first_line(error)}", remedy)
    return Finding("mlflow", "mirror", OK, f"{shown} answers")
