"""The client of Discord: commands, presses and modals find their handlers, errors become sentences."""

from bot.interactions import picture_actions, refused_prompt, saved_settings, submission
from bot.interactions.api_endpoint import DISCORD, Unreachable, point_at, until_reachable
from bot.interactions.client import DarkroomBot
from bot.interactions.client_base import ClientBase, Interaction, NamedFile, reply
from bot.interactions.direct_results import check_sendable, send_directly
from bot.interactions.job_display import OPEN, jobs_select, put_card, put_pictures
from bot.interactions.job_in_message import job_in
from bot.interactions.job_management import cancel_job, check_may_manage, delete_job, may_manage
from bot.interactions.login import log_in
from bot.interactions.registry import Handler, PanelButton, Press, Quote
from bot.interactions.submission import server_that_pays, usual_lane, where_of
from bot.interactions.visibility import Reader

__all__ = [
    "DISCORD",
    "OPEN",
    "ClientBase",
    "DarkroomBot",
    "Handler",
    "Interaction",
    "NamedFile",
    "PanelButton",
    "Press",
    "Quote",
    "Reader",
    "Unreachable",
    "cancel_job",
    "check_may_manage",
    "check_sendable",
    "delete_job",
    "job_in",
    "jobs_select",
    "log_in",
    "may_manage",
    "picture_actions",
    "point_at",
    "put_card",
    "put_pictures",
    "refused_prompt",
    "reply",
    "saved_settings",
    "send_directly",
    "server_that_pays",
    "submission",
    "until_reachable",
    "usual_lane",
    "where_of",
]
