"""The rows of the table that test_folders.py holds the code against: read it to see who stands on whom."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`imports`: the rows that this one may import, and does; `offers`: for a folder, the names in its `__init__`."""

    imports: frozenset[str]
    offers: frozenset[str]


def row(imports: str = "", offers: str = "") -> Row:
    """Names separated by blanks."""
    return Row(imports=frozenset(imports.split()), offers=frozenset(offers.split()))


TABLE: dict[str, Row] = {
    "core": row(),
    "storage": row(
        imports="core",
    ),
    "bot.admission": row(
        imports="bot.moderation bot.resources bot.scheduling bot.text core storage",
    ),
    "bot.blocked_words": row(
        imports="bot.lookalikes core",
    ),
    "bot.catalogue": row(
        imports="bot.config bot.file_storage core storage",
        offers="ModelRegistry Availability catalogue_files cli folder_watcher locations",
    ),
    "bot.config": row(
        imports="core",
        offers="Config ROOT VARIABLES is_loopback read_dotenv value_parsers",
    ),
    "bot.database": row(
        imports="core storage",
    ),
    "bot.disk_room": row(
        imports="bot.file_storage bot.thread_pool",
    ),
    "bot.doctor": row(
        imports=(
            "bot.catalogue bot.config bot.database bot.file_storage bot.interactions bot.invite_link bot.workers "
            "core storage"
        ),
    ),
    "bot.event_bus": row(
        imports="core",
    ),
    "bot.file_storage": row(),
    "bot.health": row(
        imports="bot.file_storage",
    ),
    "bot.image_store": row(
        imports="bot.disk_room bot.file_storage bot.thread_pool core storage",
    ),
    "bot.interactions": row(
        imports=(
            "bot.admission bot.config bot.database bot.messages bot.scheduling bot.services bot.storage_retry "
            "bot.text core storage"
        ),
        offers=(
            "cancel_job check_may_manage check_sendable ClientBase DarkroomBot delete_job DISCORD Handler "
            "Interaction job_in jobs_select log_in may_manage NamedFile OPEN PanelButton picture_actions "
            "point_at Press put_card put_pictures Quote Reader refused_prompt reply saved_settings "
            "send_directly server_that_pays submission Unreachable until_reachable usual_lane where_of"
        ),
    ),
    "bot.invite_link": row(
        imports="bot.interactions",
    ),
    "bot.lattice_image": row(
        imports="core",
    ),
    "bot.log_setup": row(
        imports="core",
    ),
    "bot.lookalikes": row(),
    "bot.main": row(
        imports=(
            "bot.admission bot.catalogue bot.config bot.database bot.doctor bot.event_bus bot.health "
            "bot.image_store bot.interactions bot.log_setup bot.moderation bot.resources bot.scheduling "
            "bot.services bot.storage_retry bot.workers core storage"
        ),
    ),
    "bot.messages": row(
        imports="bot.event_bus bot.image_store bot.storage_retry bot.text bot.thread_pool core storage",
        offers=(
            "AGAIN ANY_ID Button Card Choice Component ComponentId DeliveryTimes EditRateLimiter ErrorKind FIX Field "
            "Form IN_RELAX JobButton JobCards JobView Mends MessageApi Option PendingResponses ProgressEditor "
            "REQUEST_ERRORS Refusal ResultDelivery ResultFiles Select Style UPLOAD_BYTES Verb already_answered "
            "card_text components_in error_kind in_one_line job_component made_of refusal_of retry_after token_end"
        ),
    ),
    "bot.moderation": row(
        imports="bot.blocked_words bot.config bot.text core",
    ),
    "bot.resources": row(
        imports="bot.catalogue bot.config bot.event_bus bot.image_store core storage",
    ),
    "bot.scheduling": row(
        imports=(
            "bot.catalogue bot.config bot.event_bus bot.image_store bot.lattice_image bot.resources "
            "bot.storage_retry bot.thread_pool bot.workers core storage"
        ),
        offers="CostEstimator Estimate OTHER_MODEL Scheduler render_stages",
    ),
    "bot.services": row(
        imports="bot.admission bot.moderation bot.resources bot.scheduling",
    ),
    "bot.storage_retry": row(
        imports="core",
    ),
    "bot.text": row(
        imports="core",
    ),
    "bot.thread_pool": row(),
    "bot.workers": row(
        imports="bot.config bot.event_bus core",
        offers=(
            "PLAIN_COMMAND SILENT_SECONDS WorkerConnection WorkerServer models_in tcp_listener worker_environment "
            "worker_options"
        ),
    ),
    "cogs": row(
        imports=(
            "bot.admission bot.event_bus bot.interactions bot.lattice_image bot.messages bot.scheduling bot.services "
            "bot.text bot.thread_pool core"
        ),
    ),
    "worker.__main__": row(
        imports="core worker.doctor worker.main worker.settings",
    ),
    "worker.checkpoint_formats": row(
        imports="core worker.errors",
        offers=(
            "CONFIGS FAMILIES FLUX PIPELINE_KINDS PipelineKind SD SDXL Shape check_folder computed_kind family_of "
            "few_step_methods kind_of look read_header read_model_index read_scheduler_config with_plain_names"
        ),
    ),
    "worker.checkpoints": row(
        imports=(
            "core worker.checkpoint_formats worker.compiling worker.device worker.diffusers_internals "
            "worker.errors worker.families worker.hub_download worker.interfaces worker.memory worker.paths "
            "worker.samplers worker.vision"
        ),
        offers=(
            "CatalogueLoader Components LoadedCheckpoint ModelsFolder build_family class_of load locate memory_mb "
            "prepare_network"
        ),
    ),
    "worker.compiling": row(
        imports=(
            "worker.device worker.diffusers_internals worker.file_storage worker.memory worker.paths "
            "worker.process_exit"
        ),
        offers=(
            "CompiledModel IdleSignal ModelCompiler NetworkSpec ShapeRequest Traced artifact_store "
            "forget_compiled set_torch_cache_folders trace"
        ),
    ),
    "worker.cuda_streams": row(),
    "worker.device": row(
        imports="core",
    ),
    "worker.diffusers_internals": row(),
    "worker.doctor": row(
        imports=(
            "core worker.checkpoints worker.device worker.engine worker.errors worker.memory worker.settings "
            "worker.vision"
        ),
    ),
    "worker.edits": row(
        imports="core worker.errors worker.interfaces worker.vision",
        offers=(
            "PrepareContext Prepared RowStart check_text_only grid_of needed_companions prepare "
            "takes_steps wanted_companions"
        ),
    ),
    "worker.engine": row(
        imports=(
            "core worker worker.checkpoints worker.compiling worker.cuda_streams worker.device worker.edits "
            "worker.errors worker.families worker.interfaces worker.memory worker.samplers worker.transport "
            "worker.vision"
        ),
        offers="Engine GpuMeter LoadedModel ModelCache smoke_test",
    ),
    "worker.errors": row(
        imports="core",
    ),
    "worker.families": row(
        imports=(
            "core worker.checkpoint_formats worker.cuda_streams worker.device worker.diffusers_internals "
            "worker.errors worker.interfaces worker.vision"
        ),
        offers=(
            "Flux GenericPipeline LatentPreview LoraFiles LoraSwitcher StableDiffusion StableDiffusionXL dtype_of "
            "file_states preview_sheet"
        ),
    ),
    "worker.file_storage": row(),
    "worker.hub_download": row(
        imports="core worker.file_storage",
    ),
    "worker.interfaces": row(
        imports="core",
    ),
    "worker.main": row(
        imports=(
            "core worker worker.checkpoints worker.compiling worker.device worker.engine worker.families "
            "worker.interfaces worker.memory worker.process_exit worker.settings worker.transport worker.vision"
        ),
    ),
    "worker.memory": row(
        imports="worker.device worker.diffusers_internals worker.errors worker.interfaces",
        offers=(
            "DENOISERS FULL FULLY_RESIDENT HOST MIN_REPORTED_MB NOTHING_RESERVED OffloadPlan ReservedMemory "
            "TILE_SIDE enable_tiling move_networks place_networks plan_for_model plan_with_companions "
            "unmap_weights"
        ),
    ),
    "worker.paths": row(),
    "worker.process_exit": row(),
    "worker.samplers": row(
        imports="core",
        offers=(
            "BEFORE EARLIER INPUT MAX_STEPS NOISE Schedules StepSchedule TIME X X0 X0_OUT X0_X "
            "diffusers_scheduler samplers_for set_steps"
        ),
    ),
    "worker.settings": row(
        imports="core worker.transport",
    ),
    "worker.transport": row(
        imports="core",
        offers=(
            "Address BotConnection Compiled ConnectionLost HeartbeatThread Inbox InboxItem LoadEnded ProgressReporter "
            "Stop"
        ),
    ),
    "worker.vision": row(
        imports=(
            "core worker.checkpoint_formats worker.device worker.errors worker.hub_download worker.interfaces "
            "worker.memory worker.paths"
        ),
        offers=(
            "CompanionKind CompanionPaths Companions IPAdapter LazyCompanions NO_COMPANIONS OpenCompanion Tile "
            "TileBlender cut_tiles ip_adapter_kwargs read_companion_headers"
        ),
    ),
    "sandbox.__main__": row(
        imports="sandbox.cli",
    ),
    "sandbox.app": row(
        imports="sandbox.control sandbox.errors sandbox.file_routes sandbox.rest sandbox.sandbox sandbox.startup",
    ),
    "sandbox.attachment_store": row(
        imports="sandbox.clock sandbox.value_types sandbox.world",
    ),
    "sandbox.bot_process": row(),
    "sandbox.buckets": row(
        imports="sandbox.errors sandbox.limits",
    ),
    "sandbox.channels": row(
        imports="sandbox.seed sandbox.serializers sandbox.value_types sandbox.world",
    ),
    "sandbox.cli": row(
        imports="sandbox.app sandbox.bot_process sandbox.errors sandbox.model_words sandbox.settings",
    ),
    "sandbox.clock": row(),
    "sandbox.control": row(
        imports=(
            "sandbox.channels sandbox.errors sandbox.guilds sandbox.interactions sandbox.messages sandbox.modals "
            "sandbox.permissions sandbox.reactions sandbox.sandbox sandbox.seed sandbox.serializers "
            "sandbox.validate sandbox.value_types sandbox.world"
        ),
        offers="add_control check_sender close_listeners",
    ),
    "sandbox.errors": row(
        imports="sandbox.value_types",
    ),
    "sandbox.faults": row(
        imports="sandbox.errors sandbox.value_types",
    ),
    "sandbox.file_routes": row(
        imports="sandbox.attachment_store sandbox.sandbox",
    ),
    "sandbox.gateway": row(
        imports=(
            "sandbox.clock sandbox.limits sandbox.messages sandbox.serializers sandbox.transcript "
            "sandbox.value_types sandbox.world"
        ),
    ),
    "sandbox.guilds": row(
        imports="sandbox.value_types sandbox.world",
    ),
    "sandbox.interactions": row(
        imports=(
            "sandbox.clock sandbox.errors sandbox.limits sandbox.messages sandbox.permissions sandbox.serializers "
            "sandbox.validate sandbox.value_types sandbox.world"
        ),
    ),
    "sandbox.limits": row(
        imports="sandbox.errors sandbox.value_types",
    ),
    "sandbox.messages": row(
        imports="sandbox.clock sandbox.serializers sandbox.value_types sandbox.world",
    ),
    "sandbox.model_words": row(
        imports="sandbox.settings",
    ),
    "sandbox.modals": row(
        imports="sandbox.value_types",
    ),
    "sandbox.object_store": row(
        imports="sandbox.value_types",
    ),
    "sandbox.permissions": row(
        imports="sandbox.value_types",
    ),
    "sandbox.reactions": row(
        imports="sandbox.messages sandbox.serializers sandbox.value_types sandbox.world",
    ),
    "sandbox.rest": row(
        imports=(
            "sandbox.buckets sandbox.channels sandbox.errors sandbox.faults sandbox.gateway "
            "sandbox.guilds sandbox.interactions sandbox.messages sandbox.modals sandbox.permissions "
            "sandbox.reactions sandbox.sandbox sandbox.seed sandbox.serializers sandbox.transcript "
            "sandbox.validate sandbox.value_types sandbox.world"
        ),
        offers="add_routes",
    ),
    "sandbox.sandbox": row(
        imports=(
            "sandbox.attachment_store sandbox.buckets sandbox.clock sandbox.faults sandbox.gateway "
            "sandbox.interactions sandbox.limits sandbox.object_store sandbox.seed sandbox.transcript "
            "sandbox.value_types sandbox.world"
        ),
    ),
    "sandbox.seed": row(
        imports="sandbox.permissions sandbox.value_types sandbox.world",
    ),
    "sandbox.serializers": row(
        imports="sandbox.clock sandbox.value_types sandbox.world",
    ),
    "sandbox.settings": row(
        imports="sandbox.errors",
    ),
    "sandbox.startup": row(
        imports="sandbox.errors sandbox.sandbox",
    ),
    "sandbox.transcript": row(
        imports="sandbox.clock sandbox.value_types",
    ),
    "sandbox.validate": row(
        imports="sandbox.errors sandbox.messages sandbox.value_types",
        offers=(
            "ATTACHMENT_OPTION BOOLEAN_OPTION BUTTON CHANNEL_OPTION CHANNEL_SELECT CHAT_INPUT CHECKBOX CHECKBOXES "
            "CONTAINER FILE GALLERY GROUP INTEGER_OPTION LABEL LINK MENTIONABLE_OPTION MENTIONABLE_SELECT "
            "MESSAGE_COMMAND NUMBER_OPTION Path Problems RADIO ROLE_OPTION ROLE_SELECT SELECTS SEPARATOR "
            "STRING_OPTION STRING_SELECT SUBCOMMAND TEXT TEXT_INPUT THUMBNAIL UPLOAD USER_COMMAND USER_OPTION "
            "USER_SELECT check_choices check_commands check_message check_modal flags_of is_emoji is_empty"
        ),
    ),
    "sandbox.value_types": row(),
    "sandbox.world": row(
        imports="sandbox.clock sandbox.object_store sandbox.permissions sandbox.value_types",
    ),
}
