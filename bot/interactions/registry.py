"""Gives each press and each submitted form to the handler that a feature has declared for its verb, after any restart.

discord.py knows our components by the pattern of their custom ids and not by views in memory. Knows no feature by name.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import discord

from bot.interactions import refused_prompt
from bot.interactions.client_base import ClientBase, Interaction, NamedFile, reply
from bot.messages import (
    ANY_ID,
    Button,
    Card,
    Choice,
    Component,
    ComponentId,
    Field,
    Form,
    JobButton,
    JobCards,
    Mends,
    Option,
    Select,
    Style,
)
from bot.services import Services
from core.errors import Gone, Refused
from core.job import Job, Kind, Request

_FORM_SECONDS = 900.0
_STYLES = {
    Style.QUIET: discord.ButtonStyle.secondary,
    Style.MAIN: discord.ButtonStyle.primary,
    Style.DANGER: discord.ButtonStyle.danger,
}
#: Said where a feature was taken out of cogs/ and its buttons still stand in messages.
NO_FEATURE = "This belongs to a feature that is no longer installed here."


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """One use of a component, or one submitted form.

    `message`: the id of the message that it stands in; `values`: what was chosen in a select; `fields`: what was
    written into a form, by name.
    """

    interaction: Interaction
    id: ComponentId
    message: str | None = None
    values: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_button(self) -> bool:
        """Whether it brings nothing but its id, so that twice at once is once."""
        return not self.values and not self.fields

    @property
    def client(self) -> ClientBase:
        """Who was pressed."""
        return self.interaction.client

    @property
    def services(self) -> Services:
        """What handlers work with."""
        return self.interaction.client.services

    async def job(self) -> Job:
        """The job that it is about. Raises Gone where its row is not there."""
        job = await self.services.jobs.get(self.id.job) if self.id.job is not None else None
        if job is None:
            raise Gone("That job is no longer known here.")
        return job

    async def reply(self, card: Card, *, public: bool = False, file: NamedFile | None = None) -> None:
        """Answers with a new message, which only the person sees unless it is `public`."""
        await reply(self.interaction, card, public=public, file=file)

    async def update(self, card: Card, *, file: NamedFile | None = None) -> None:
        """Answers by changing the message that the component is in: a page turned, a line taken off a list.

        `file`: in place of those that it has; None leaves them.
        """
        more: dict[str, Any] = {} if file is None else {"attachments": [file.fresh()]}
        view = self.client.view_of(card)
        await self.interaction.response.edit_message(content=card.content, view=view, **more)

    async def open(self, form: Form) -> None:
        """Answers with a form. Works once, and only as the first answer."""
        await self.interaction.response.send_modal(modal_of(form))


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelButton:
    """A button behind **More**, about one picture: where it stands there, and what its price line calls it.

    `fits`: whether it makes sense for a picture of this size (width, height).
    """

    verb: str
    row: int
    order: int = 0
    label: str | None = None
    emoji: str | None = None
    name: str = ""
    fits: Callable[[tuple[int, int]], bool] = lambda _: True


Handler = Callable[[Press], Awaitable[None]]
#: What a panel's button would ask for, so that its price can be said.
Quote = Callable[[Press], Awaitable[tuple[Kind, Request]]]
#: Does what a job's button does, with other words than the job's own.
Mender = Callable[[Press, str], Awaitable[None]]


class Registry:
    """Verbs and their handlers. A feature fills it in its `setup`; declaring a verb twice raises ValueError."""

    def __init__(self, cards: JobCards) -> None:
        self._cards = cards
        self._components: dict[tuple[str, bool], Handler] = {}
        self._forms: dict[tuple[str, bool], Handler] = {}
        self._menders: dict[str, Mender] = {}  # by verb of jobs' buttons
        self._wordless: set[str] = set()  # those for which other words mean nothing
        self.panel: list[tuple[PanelButton, Quote | None]] = []  # what stands behind More
        self.with_words: list[PanelButton] = []  # what can be done to a picture with other words

    def add_job_button(self, handler: Handler, *buttons: JobButton, words: bool = True) -> None:
        """Buttons of one verb that stand under jobs, and what a press of one does.

        `words`: False where other words than the job's own mean nothing, so that no refusal asks for them.
        """
        (verb,) = {button.verb for button in buttons}
        if not words:
            self._wordless.add(verb)
        self.add_job_component(handler, verb)
        for button in buttons:
            self._cards.add(button)

    def add_job_component(self, handler: Handler, verb: str) -> None:
        """A button or select about a job that no job's card shows by itself: `job:<id>:<verb>…`."""
        _put(self._components, (verb, True), handler)

    def add_panel_button(
        self, handler: Handler, button: PanelButton, quote: Quote | None = None, *, words: bool = True
    ) -> None:
        """A button behind **More**. Without a quote, it makes nothing by itself: it opens a form or another panel."""
        self.add_job_component(handler, button.verb)
        if not words:
            self._wordless.add(button.verb)
        self.panel.append((button, quote))

    def has_job_component(self, verb: str) -> bool:
        """Whether a feature has declared it."""
        return (verb, True) in self._components

    def add_component(self, handler: Handler, verb: str) -> None:
        """A button or select about no job: `ask:<verb>…`."""
        _put(self._components, (verb, False), handler)

    def add_job_form(self, handler: Handler, verb: str) -> None:
        """What happens when a form about a job is submitted."""
        _put(self._forms, (verb, True), handler)

    def add_form(self, handler: Handler, verb: str) -> None:
        """What happens when a form about no job is submitted."""
        _put(self._forms, (verb, False), handler)

    def add_job_mender(self, mender: Mender, verb: str) -> None:
        """What **Fix and run** does below a refused press of this button; without one, it makes a new grid."""

        async def open_form(press: Press) -> None:
            await press.open(refused_prompt.form(press.id, refused_prompt.refused_prompt(press.interaction.message)))

        async def corrected(press: Press) -> None:
            await mender(press, refused_prompt.written(press.fields))

        async def as_it_stands(press: Press) -> None:
            await mender(press, refused_prompt.refused_prompt(press.interaction.message))

        self.add_job_component(open_form, refused_prompt.FIX_SIGN + verb)
        self.add_job_form(corrected, refused_prompt.FIX_SIGN + verb)
        self.add_job_component(as_it_stands, refused_prompt.RUN_SIGN + verb)
        self._menders[verb] = mender

    async def do(self, press: Press, verb: str, words: str) -> None:
        """What a job's button of this verb does with other words; refused, it is mended as that button is.

        Raises Gone where nothing does that.
        """
        mender = self._menders.get(verb)
        if mender is None:
            raise Gone(NO_FEATURE)
        about = replace(press, id=replace(press.id, verb=verb))
        try:
            await mender(about, words)
        except Refused as error:
            await press.client.explain(press.interaction, error, mends=self.mends(about.id, repeatable=False))

    async def pressed(self, interaction: Interaction, custom_id: str) -> None:
        """Somebody used a component."""
        values = tuple(str(value) for value in _data(interaction).get("values", ()))
        await self._handle(self._components, interaction, custom_id, values=values)

    async def submitted(self, interaction: Interaction) -> None:
        """Somebody sent a form. Forms that are not ours are left alone."""
        data = _data(interaction)
        custom_id = str(data.get("custom_id", ""))
        if ComponentId.parse(custom_id) is not None:
            await self._handle(self._forms, interaction, custom_id, fields=dict(_fields(data.get("components", ()))))

    async def _handle(
        self, handlers: Mapping[tuple[str, bool], Handler], interaction: Interaction, custom_id: str, **more: Any
    ) -> None:
        """The one place where a press meets its handler, and its errors their sentence."""
        client, component_id = interaction.client, ComponentId.parse(custom_id)
        if client.too_late(interaction):
            return
        try:
            await client.served_servers.look(interaction.guild_id)
            known = component_id and handlers.get((component_id.verb, component_id.job is not None))
            if component_id is None or not known:
                raise Gone(NO_FEATURE)
            message = str(interaction.message.id) if interaction.message else None
            await known(Press(interaction=interaction, id=component_id, message=message, **more))
        except Exception as error:
            # Only a button can be pressed once more as it is: what was chosen or written is not in its id.
            repeatable = handlers is self._components and not more.get("values")
            await client.explain(interaction, error, mends=self.mends(component_id, repeatable=repeatable))

    def mends(self, refused: ComponentId | None, *, repeatable: bool) -> Mends | None:
        """What runs a refused wish as it was meant; None where only its words can be run."""
        if refused is None:
            return None
        if refused.job is None:
            return refused_prompt.mends_of_words(refused)
        mends = refused_prompt.PLAIN
        if refused_prompt.plain_verb(refused.verb) in self._menders:
            mends = refused_prompt.mends_of(refused, repeatable=repeatable)
        elif repeatable:
            mends = replace(mends, relax=replace(refused, relax=True), again=refused)
        return replace(mends, fix=None) if refused.verb in self._wordless else mends


def _put(handlers: dict[tuple[str, bool], Handler], key: tuple[str, bool], handler: Handler) -> None:
    if key in handlers:
        raise ValueError(f"Two features declare the verb {key[0]!r}.")
    handlers[key] = handler


def _data(interaction: Interaction) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", interaction.data or {})


def _fields(components: Any) -> list[tuple[str, str]]:
    """Name and text of every field somewhere in a form's answer."""
    found: list[tuple[str, str]] = []
    for component in components:
        if "value" in component and "custom_id" in component:
            found.append((str(component["custom_id"]), str(component["value"] or "")))
        elif "values" in component and "custom_id" in component:
            found.append((str(component["custom_id"]), str(next(iter(component["values"]), ""))))
        inner = [component["component"]] if "component" in component else component.get("components", ())
        found += _fields(inner)
    return found


class ComponentItem(discord.ui.DynamicItem[discord.ui.Item[Any]], template=ANY_ID):
    """Every component of ours, recognised by its custom id."""

    @classmethod
    async def from_custom_id(cls, _: discord.Interaction, item: discord.ui.Item[Any], _match: Any) -> Self:
        """From what stands in the message."""
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Answers a press. (discord.py only logs what a dynamic item raises.)"""
        await interaction.client.registry.pressed(interaction, self.custom_id)


def view_of(card: Card) -> discord.ui.View:
    """A fresh view. Never edit a message with a view that it was given before, and never mix these with other buttons:
    discord.py would then forget the class for the whole client."""
    view = discord.ui.View(timeout=None)
    for row, components in enumerate(card.rows):
        for component in components:
            item = ComponentItem(_item(component))
            item.row = row
            view.add_item(item)
    return view


def _item(component: Component) -> discord.ui.Item[Any]:
    if isinstance(component, Select):
        return _select(component)
    return _button(component)


def _button(button: Button) -> discord.ui.Button[Any]:
    return discord.ui.Button(
        label=button.label, emoji=button.emoji, style=_STYLES[button.style], custom_id=str(button.id)
    )


def _select(select: Select) -> discord.ui.Select[Any]:
    return discord.ui.Select(
        custom_id=str(select.id),
        placeholder=select.placeholder,
        min_values=select.least,
        max_values=select.most,
        options=_options(select.options),
    )


def modal_of(form: Form) -> discord.ui.Modal:
    """A form for discord.py; its answer is recognised by its custom id, so it may come after a restart."""
    modal = discord.ui.Modal(title=form.title, timeout=_FORM_SECONDS, custom_id=str(form.id))
    for one in form.fields:
        inner = _choice(one) if isinstance(one, Choice) else _text(one)
        modal.add_item(discord.ui.Label(text=one.label, description=one.description, component=inner))
    return modal


def _text(one: Field) -> discord.ui.TextInput[discord.ui.Modal]:
    return discord.ui.TextInput(
        style=discord.TextStyle.paragraph if one.long else discord.TextStyle.short,
        default=one.value or None,
        required=one.required,
        max_length=one.max_length,
        custom_id=one.name,
    )


def _choice(one: Choice) -> discord.ui.Select[discord.ui.Modal]:
    return discord.ui.Select(custom_id=one.name, options=_options(one.options), required=True)


def _options(options: Iterable[Option]) -> list[discord.SelectOption]:
    return [
        discord.SelectOption(
            label=option.label, value=option.value, description=option.description, default=option.chosen
        )
        for option in options
    ]
