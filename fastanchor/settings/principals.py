"""Keys and plans of the file: who may ask, and what they are held to."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fastanchor.core.principal import UNLIMITED, Plan, Principal
from fastanchor.settings import schema
from fastanchor.settings.context import Context

MICRO = 1_000_000
ADMIN_VARIABLE = "FASTANCHOR_ADMIN_KEY"
DEV_VARIABLE = "FASTANCHOR_DEV_KEY"
DEV = schema.Key(name="dev", key=f"env:{DEV_VARIABLE}")


@dataclass(frozen=True, slots=True)
class Principals:
    """`keys` by digest; `admin_digest` is empty without an admin key."""

    plans: dict[str, Plan]
    organizations: dict[str, Plan]
    keys: dict[bytes, Principal]
    admin_digest: bytes


def compile_principals(config: schema.Config, context: Context) -> Principals:
    """Plans, keys and the admin key; problems go to the context."""
    plans = {name: _plan(name, plan) for name, plan in config.plans.items()}
    organizations = {name: _organization(name, limits) for name, limits in config.organizations.items()}
    admin = config.admin.key or (f"env:{ADMIN_VARIABLE}" if context.environ.get(ADMIN_VARIABLE) else None)
    secret = context.secret(admin, "admin.key") if admin else None
    admin_digest = context.digest(secret) if secret else b""
    keys = _keys(_sources(config, context.environ), plans, admin_digest, context)
    for digest, holder in keys.items():
        keys[digest] = replace(holder, shared=organizations.get(holder.organization))
    return Principals(plans, organizations, keys, admin_digest)


def _sources(config: schema.Config, environ: Mapping[str, str]) -> list[schema.Key]:
    if config.keys:
        return config.keys
    return [DEV] if environ.get(DEV_VARIABLE) else []


def _plan(name: str, plan: schema.Plan) -> Plan:
    return replace(
        _limits(name, plan),
        cap_max_tokens=plan.cap_max_tokens,
        credits=_micro(plan.credits_usd),
        models=tuple(plan.models),
        endpoints=tuple(plan.endpoints),
        priority=plan.priority,
        markup=round(plan.markup_percent * MICRO / 100),
    )


def _organization(name: str, limits: schema.Organization) -> Plan:
    return replace(_limits(name, limits), credits=_micro(limits.credits_usd))


def _micro(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * MICRO)


def _limits(name: str, limits: schema.PlanLimits) -> Plan:
    return Plan(
        name,
        requests_per_minute=limits.requests_per_minute,
        requests_per_day=limits.requests_per_day,
        tokens_per_minute=limits.tokens_per_minute,
        tokens_per_hour=limits.tokens_per_hour,
        tokens_per_day=limits.tokens_per_day,
        tokens_per_month=limits.tokens_per_month,
        concurrent_requests=limits.concurrent_requests,
        max_tokens_per_request=limits.max_tokens_per_request,
    )


def _keys(
    keys: list[schema.Key], plans: Mapping[str, Plan], admin_digest: bytes, context: Context
) -> dict[bytes, Principal]:
    names: dict[str, int] = {}
    digests: dict[bytes, str] = {admin_digest: "admin.key"} if admin_digest else {}
    found: dict[bytes, Principal] = {}
    for i, key in enumerate(keys):
        place = f"keys[{i}]"
        if key.name in names:
            context.wrong(f"{place}.name", f'"{key.name}" is already the name of keys[{names[key.name]}]')
        names.setdefault(key.name, i)
        secret = context.secret(key.key, f"{place}.key")
        principal = _principal(key, plans, place, context)
        if secret is None:
            continue
        digest = context.digest(secret)
        if digest in digests:
            context.wrong(f"{place}.key", f"is the same key as {digests[digest]}")
        digests.setdefault(digest, f"{place}.key")
        found[digest] = principal
    return found


def _principal(key: schema.Key, plans: Mapping[str, Plan], place: str, context: Context) -> Principal:
    if key.plan is not None and key.plan not in plans:
        known = f"known are {', '.join(plans)}" if plans else "none is configured"
        context.wrong(f"{place}.plan", f'there is no plan "{key.plan}", {known}')
    return Principal(
        key_id=f"config:{key.name}",
        name=key.name,
        organization=key.organization,
        scopes=frozenset(key.scopes),
        models=tuple(key.models),
        endpoints=tuple(key.endpoints),
        plan=plans.get(key.plan or "", UNLIMITED),
        limits=None if key.limits is None else _limits(key.name, key.limits),
        expires=None if key.expires is None else key.expires.timestamp(),
        addresses=_networks(key.addresses, f"{place}.addresses", context),
    )


def _networks(texts: list[str], place: str, context: Context) -> tuple[str, ...]:
    found = []
    for i, text in enumerate(texts):
        try:
            found.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            context.wrong(f"{place}[{i}]", f'expected a network such as "10.0.0.0/8", got "{text}"')
    return tuple(found)
