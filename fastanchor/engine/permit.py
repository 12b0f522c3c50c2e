"""May they: what a key's scopes, models and endpoints allow."""

from __future__ import annotations

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal


def permit_endpoint(principal: Principal, path: str, scope: str) -> None:
    """Raises Fault(PERMISSION_DENIED) unless the key has the scope (or `admin`) and the endpoint."""
    if scope not in principal.scopes and "admin" not in principal.scopes:
        raise Fault(Kind.PERMISSION_DENIED, f"This key lacks the scope '{scope}'.")
    if not principal.allows_endpoint(path):
        raise Fault(Kind.PERMISSION_DENIED, "This key may not use this endpoint.")


def permit_model(principal: Principal, model: str) -> None:
    """Raises Fault(PERMISSION_DENIED) when the key or its plan does not include the model."""
    if not principal.allows_model(model):
        raise Fault(Kind.PERMISSION_DENIED, f"This key may not use the model '{model}'.", param="model")
