"""/settings: a panel of what holds for your prompts where they say nothing; everything that it shows is set there."""

from discord import app_commands
from discord.ext import commands

from bot.interactions import DarkroomBot, Interaction, Press, reply, saved_settings, usual_lane, where_of
from bot.messages import Button, Card, Component, ComponentId, Field, Form, Option, Select, Style
from bot.services import Services
from bot.text import TURBO_PRICE, code_block
from core.errors import Refused
from core.job import Lane
from core.model_selection import USUAL_STYLE
from core.spelling import quoted

_MODEL, _STYLE, _LANE, _RAW, _SUFFIX, _RESET = (
    f"settings-{name}" for name in ("model", "style", "lane", "raw", "suffix", "reset")
)
#: Of a select's 25 options one is for the server's usual model.
_MOST_MODELS = 24
_USUAL = "usual"
_STYLES = {"50": "Style low", str(USUAL_STYLE): "Style medium", "250": "Style high", "750": "Style very high"}
_LANES = {Lane.FAST: "Fast", Lane.RELAX: "Relax", Lane.TURBO: "Turbo"}
_ABOUT_LANES = {
    Lane.FAST: "your jobs use fast time",
    Lane.RELAX: "your jobs are free and come after the others",
    Lane.TURBO: f"your jobs come before all others, {TURBO_PRICE}",
}
_RESET_NAMES = (saved_settings.MODEL, saved_settings.STYLIZE, saved_settings.RAW, saved_settings.SUFFIX, "lane")


class Settings(commands.Cog):
    """What holds where a prompt says nothing."""

    @app_commands.command()
    async def settings(self, interaction: Interaction) -> None:
        """Your usual model, style, lane and suffix"""
        where_of(interaction)
        await reply(interaction, await _panel(interaction))


async def _panel(interaction: Interaction) -> Card:
    services, user = interaction.client.services, str(interaction.user.id)
    kept = await services.settings.member(user)
    lane = await usual_lane(interaction.client, user)
    lines = [
        "**Your settings** hold where a prompt says nothing.",
        f"**Lane** {lane}: {_ABOUT_LANES[lane]}",
        f"**House style** {'left out (raw)' if kept.get(saved_settings.RAW) else _style_of(kept)}",
        _model_line(services, kept.get(saved_settings.MODEL)),
    ]
    if suffix := kept.get(saved_settings.SUFFIX):
        lines.append(f"**Suffix**, added to every prompt:\n{code_block(suffix)}")
    lanes = tuple(
        Button(id=ComponentId(verb=_LANE, argument=one.value), label=label, style=_style_if(one is lane))
        for one, label in _LANES.items()
    )
    raw = Button(id=ComponentId(verb=_RAW), label="Raw", style=_style_if(bool(kept.get(saved_settings.RAW))))
    suffix_button = Button(id=ComponentId(verb=_SUFFIX), label="Suffix")
    reset = Button(id=ComponentId(verb=_RESET), label="Reset", style=Style.DANGER)
    rows: tuple[tuple[Component, ...], ...] = (
        (_model_select(services, kept.get(saved_settings.MODEL)),),
        (_style_select(kept),),
        lanes,
        (raw, suffix_button, reset),
    )
    return Card(content="\n".join(lines), rows=rows)


def _style_if(chosen: bool) -> Style:
    return Style.MAIN if chosen else Style.QUIET


def _style_of(kept: dict[str, object]) -> str:
    chosen = str(kept.get(saved_settings.STYLIZE, USUAL_STYLE))
    return f"{_STYLES.get(chosen, 'Style').removeprefix('Style ')} (`--stylize {chosen}`)"


def _model_line(services: Services, chosen: str | None) -> str:
    if chosen is None:
        return f"**Model** the usual one, {quoted(services.model.name)}"
    if services.model_registry.get(chosen) is None:
        return f"**Model** {quoted(chosen)}, which is no longer here: choose another one"
    return f"**Model** {quoted(chosen)}"


def _model_select(services: Services, chosen: str | None) -> Select:
    names = sorted(services.model_registry.choices.models)[:_MOST_MODELS]
    usual = Option(value=_USUAL, label="The usual model", description=services.model.name[:100], chosen=chosen is None)
    options = (usual, *(Option(value=name[:100], label=name[:100], chosen=name == chosen) for name in names))
    return Select(id=ComponentId(verb=_MODEL), options=options, placeholder="Model")


def _style_select(kept: dict[str, object]) -> Select:
    chosen = str(kept.get(saved_settings.STYLIZE, USUAL_STYLE))
    options = tuple(
        Option(value=much, label=label, description=f"--stylize {much}", chosen=much == chosen)
        for much, label in _STYLES.items()
    )
    return Select(id=ComponentId(verb=_STYLE), options=options, placeholder="House style")


async def _keep(press: Press, name: str, value: object) -> None:
    """Keeps one choice and shows the panel as it is now."""
    await press.services.settings.set_member(str(press.interaction.user.id), name, value)
    await press.update(await _panel(press.interaction))


async def _choose_model(press: Press) -> None:
    (name,) = press.values
    if name != _USUAL and press.services.model_registry.get(name) is None:
        raise Refused(f"The model {quoted(name)} is no longer here. `/settings` shows those that are.")
    await _keep(press, saved_settings.MODEL, None if name == _USUAL else name)


async def _choose_style(press: Press) -> None:
    much = press.values[0] if press.values[0] in _STYLES else str(USUAL_STYLE)
    await _keep(press, saved_settings.STYLIZE, None if much == str(USUAL_STYLE) else int(much))


async def _choose_lane(press: Press) -> None:
    lane = press.id.argument if press.id.argument in set(Lane) else Lane.FAST.value
    await _keep(press, "lane", lane)


async def _toggle_raw(press: Press) -> None:
    kept = await press.services.settings.member(str(press.interaction.user.id))
    await _keep(press, saved_settings.RAW, None if kept.get(saved_settings.RAW) else True)


async def _open_suffix(press: Press) -> None:
    kept = await press.services.settings.member(str(press.interaction.user.id))
    field = Field(
        name="suffix",
        label="Suffix",
        description="Parameters for every prompt, as in --ar 3:2 --no text. Empty: none.",
        value=kept.get(saved_settings.SUFFIX, ""),
        required=False,
        max_length=saved_settings.MOST_CHARACTERS,
    )
    await press.open(Form(id=ComponentId(verb=_SUFFIX), title="Suffix", fields=(field,)))


async def _keep_suffix(press: Press) -> None:
    await saved_settings.keep_suffix(press.services, str(press.interaction.user.id), press.fields.get("suffix", ""))
    await press.update(await _panel(press.interaction))


async def _reset(press: Press) -> None:
    """Everything that the panel shows; options of your own stay."""
    for name in _RESET_NAMES:
        await press.services.settings.set_member(str(press.interaction.user.id), name, None)
    await press.update(await _panel(press.interaction))


async def setup(bot: DarkroomBot) -> None:
    """Makes the feature known to the bot."""
    for verb, handler in (
        (_MODEL, _choose_model), (_STYLE, _choose_style), (_LANE, _choose_lane), (_RAW, _toggle_raw),
        (_SUFFIX, _open_suffix), (_RESET, _reset),
    ):  # fmt: skip
        bot.registry.add_component(handler, verb)
    bot.registry.add_form(_keep_suffix, _SUFFIX)
    await bot.add_cog(Settings())
