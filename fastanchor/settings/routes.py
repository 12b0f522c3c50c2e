"""Routes and prices of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastanchor.core.channel import Channel
from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.core.route import Hedge, Route
from fastanchor.settings import schema
from fastanchor.settings.context import Context

MICRO = 1_000_000


def compile_routes(config: schema.Config, channels: tuple[Channel, ...], context: Context) -> tuple[Route, ...]:
    """Every route; names that do not exist go to the context's problems, fallbacks nobody serves to its warnings."""
    models: dict[str, int] = {}
    found = []
    for i, route in enumerate(config.routes):
        if route.model in models:
            message = f'"{route.model}" is already the model of routes[{models[route.model]}], which matches first'
            context.wrong(f"routes[{i}].model", message)
        models.setdefault(route.model, i)
        _check_channels(route, channels, f"routes[{i}]", context)
        found.append(_route(route))
    return tuple(found)


def _check_channels(route: schema.Route, channels: tuple[Channel, ...], key: str, context: Context) -> None:
    names = [channel.name for channel in channels]
    for i, name in enumerate(route.channels):
        if name not in names:
            context.wrong(f"{key}.channels[{i}]", f'there is no channel "{name}", known are {", ".join(names)}')
    for i, model in enumerate(route.fallback_models):
        if all(channel.upstream_model(model) is None for channel in channels):
            context.warnings.append(f'{key}.fallback_models[{i}]: no channel serves "{model}"')


def _route(route: schema.Route) -> Route:
    return Route(
        model=route.model,
        fallback_models=tuple(route.fallback_models),
        channels=tuple(route.channels),
        attempts=route.attempts,
        race=route.race,
        hedge=_hedge(route.hedge if isinstance(route.hedge, schema.Hedge) else schema.Hedge(after=route.hedge)),
        rescue=route.rescue,
        select=route.select,
        affinity=route.affinity,
        deadline=route.deadline,
        content_filter_fallback=route.content_filter_fallback,
    )


def _hedge(hedge: schema.Hedge) -> Hedge:
    percentile = None
    if isinstance(hedge.after, str) and hedge.after != "off":
        percentile = int(hedge.after.removeprefix("p")) / 100
    return Hedge(
        after=None if isinstance(hedge.after, str) else float(hedge.after),
        percentile=percentile,
        max_share=hedge.max_share,
        max_prompt_tokens=hedge.max_prompt_tokens,
        max_cost=round(hedge.max_cost_usd * MICRO),
    )


def compile_cards(config: schema.Config, known: Mapping[str, ModelCard]) -> dict[str, ModelCard]:
    """The known model cards, with the file's prices in place of their own."""
    return {**known, **_priced(config.prices, known)}


def compile_channel_cards(
    config: schema.Config, known: Mapping[str, ModelCard]
) -> dict[str, dict[str, ModelCard]]:
    """The cards of models that have prices of their own at a channel, by its name."""
    return {channel.name: _priced(channel.prices, known) for channel in config.channels if channel.prices}


def _priced(prices: Mapping[str, schema.Price], known: Mapping[str, ModelCard]) -> dict[str, ModelCard]:
    cards = {}
    for model, price in prices.items():
        tiers = (_tier(price, 0), *(_tier(tier, tier.above) for tier in sorted(price.tiers, key=lambda t: t.above)))
        cards[model] = replace(known.get(model, ModelCard(model)), prices=tiers)
    return cards


def _tier(price: schema.PriceTier, above: int) -> PriceTier:
    def micro(dollars: float | None) -> int | None:
        return None if dollars is None else round(dollars * MICRO)

    return PriceTier(
        above=above,
        input=round(price.input * MICRO),
        output=round(price.output * MICRO),
        cache_read=micro(price.cache_read),
        cache_write=micro(price.cache_write),
        cache_write_1h=micro(price.cache_write_1h),
        reasoning=micro(price.reasoning),
        audio_input=micro(price.audio_input),
        audio_output=micro(price.audio_output),
    )
