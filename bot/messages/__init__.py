"""A job's messages on Discord: what they show, how they are reached, when they change. Knows no commands."""

from bot.messages.api_errors import (
    REQUEST_ERRORS,
    ErrorKind,
    already_answered,
    error_kind,
    in_one_line,
    retry_after,
)
from bot.messages.attachments import ResultFiles
from bot.messages.components import (
    ANY_ID,
    Button,
    Card,
    Choice,
    Component,
    ComponentId,
    Field,
    Form,
    Option,
    Select,
    Style,
    Verb,
    job_component,
)
from bot.messages.edit_rate_limiter import EditRateLimiter
from bot.messages.grid_image import UPLOAD_BYTES
from bot.messages.job_card import JobButton, JobCards, JobView, card_text, made_of
from bot.messages.message_api import MessageApi, components_in, token_end
from bot.messages.pending_responses import PendingResponses
from bot.messages.progress_editor import ProgressEditor
from bot.messages.refusal_card import AGAIN, FIX, IN_RELAX, Mends, Refusal, refusal_of
from bot.messages.result_delivery import DeliveryTimes, ResultDelivery

__all__ = [
    "AGAIN",
    "ANY_ID",
    "FIX",
    "IN_RELAX",
    "REQUEST_ERRORS",
    "UPLOAD_BYTES",
    "Button",
    "Card",
    "Choice",
    "Component",
    "ComponentId",
    "DeliveryTimes",
    "EditRateLimiter",
    "ErrorKind",
    "Field",
    "Form",
    "JobButton",
    "JobCards",
    "JobView",
    "Mends",
    "MessageApi",
    "Option",
    "PendingResponses",
    "ProgressEditor",
    "Refusal",
    "ResultDelivery",
    "ResultFiles",
    "Select",
    "Style",
    "Verb",
    "already_answered",
    "card_text",
    "components_in",
    "error_kind",
    "in_one_line",
    "job_component",
    "made_of",
    "refusal_of",
    "retry_after",
    "token_end",
]
