"""The composition root: it builds a node out of its parts, makes the one clock, and owns the one TaskGroup."""

import asyncio
import gc
import logging
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

import uvicorn
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from protocol.link import SOCKET_BYTES_MAX

from . import access
from .api.agent_model import AgentLlm
from .api.app import build
from .api.gate import Rules
from .api.parts import Parts
from .artifacts import Artifacts
from .clock import clock, this_machine
from .core.events import NodeStarted
from .core.placement.policies import DEFAULT, POLICIES
from .gateway import Gateway
from .inspection import Report, inspected
from .journal import recovered
from .metrics import Metrics
from .planner.consult import Consultations
from .planner.contract import Planner
from .planner.ladder import LLM, OUTLINE
from .planner.outline import Outline
from .planner.prices import Price
from .runner import Runner
from .semantic import Semantic
from .sockets import protocols
from .store import Durability, open_store
from .store.contract import Store
from .store.errors import StoreError
from .upkeep import Keep, Tally, Upkeep, added

log = logging.getLogger(__name__)

GALAXY_SETTING = "galaxy_id"
LAG_EVERY_S = 1.0
GOODBYE_WITHIN_S = 5.0
DAY_S = 86_400.0


class Settings(BaseSettings):
    """How a node is run. Each may come from the environment as GALAXY_..., or from the command line."""

    model_config = SettingsConfigDict(env_prefix="GALAXY_")

    data: Path = Path("~/.local/share/galaxy")
    host: str = "127.0.0.1"
    port: int = Field(default=8421, ge=0, le=65535)
    database: str = ""  # a PostgreSQL URL; by default SQLite in `data`
    durability: Durability = "power"
    token: str = ""  # the API token of the first start, instead of a generated one
    insecure_listen: bool = False
    allow_host: list[str] = []
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    heartbeat_s: float = Field(default=5.0, gt=0, le=300)
    placement: Literal["heft", "fastest_start", "least_loaded", "round_robin"] = DEFAULT  # which device gets a star
    matching: Literal["lexical", "semantic"] = "lexical"  # of instructions that name no tools with tools
    # For how long what is over is kept; 0 is for ever.
    keep_ended_days: float = Field(default=0.0, ge=0)  # constellations, since their end
    keep_artifacts_days: float = Field(default=7.0, ge=0)  # that no constellation names
    keep_uploads_days: float = Field(default=1.0, ge=0)  # half ones, since their last piece
    keep_answers_days: float = Field(default=1.0, ge=0)  # of idempotency keys
    llm_url: str = ""  # of an OpenAI-compatible endpoint, /v1 included; without it there is no planner `llm`
    llm_key: SecretStr = SecretStr("")
    llm_model: str = ""
    llm_prices: dict[str, dict[str, float]] = {}  # model -> in_per_million, out_per_million


class Unfit(Exception):
    """The settings cannot be served; the message says what to do."""


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the node has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def require_fit(settings: Settings) -> None:
    """Raise Unfit for settings that would put the node at risk."""
    if settings.llm_url and not settings.llm_model:
        raise Unfit("GALAXY_LLM_URL names an endpoint, so GALAXY_LLM_MODEL must name a model there")
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise Unfit("a TLS certificate and its key go together: give both --tls-certificate and --tls-key")
    exposed = not access.is_loopback(settings.host) and settings.tls_certificate is None
    if exposed and not settings.insecure_listen:
        raise Unfit(
            f"listening on {settings.host} without TLS would show tokens to the network: give --tls-certificate and "
            "--tls-key, or, behind a proxy that does TLS, --insecure-listen"
        )


async def serve(settings: Settings, ready: Callable[[str, str], None]) -> None:
    """Serve until told to stop by SIGTERM or SIGINT.

    `ready` is called once with the URL, and with the API token if it was made just now. Raise Unfit, StoreError or
    OSError when it cannot be served.
    """
    require_fit(settings)
    folder = settings.data.expanduser()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    listener = socket.create_server((settings.host, settings.port))
    with listener:
        async with _opened(settings, folder) as store:
            node, token, new_token = await _assembled(settings, folder, store)
            await _run(settings, node, token, listener, lambda url: ready(url, new_token))


async def new_api_token(settings: Settings) -> str:
    """Return a new API token, in place of the old one; raise StoreError, also if the node runs."""
    async with _opened(settings, settings.data.expanduser()) as store:
        token = access.new_token()
        await store.set_setting(access.TOKEN_SETTING, access.digest(token))
        return token


async def let_go(settings: Settings, *, dry_run: bool) -> Tally:
    """Let go of all that the settings do not keep, and return what it was; raise StoreError, also if the node runs."""
    folder = _existing(settings)
    async with _opened(settings, folder) as store:
        upkeep = Upkeep(store, Artifacts(folder / "artifacts", store), _keep(settings), time.time)
        if dry_run:
            return await upkeep.look(upkeep.keep)
        total = part = await upkeep.step(upkeep.keep)
        while any(gone.amount for gone in part.values()):
            part = await upkeep.step(upkeep.keep)
            total = added(total, part)
        await store.compact()
        return total


async def checked(settings: Settings) -> Report:
    """Return what is recorded and what is wrong with it; raise StoreError, also if the node runs."""
    folder = _existing(settings)
    async with _opened(settings, folder) as store:
        return await inspected(store, Artifacts(folder / "artifacts", store))


def _existing(settings: Settings) -> Path:
    """Return the node's folder; raise StoreError where no node ever was, instead of making one."""
    folder = settings.data.expanduser()
    if not settings.database and not (folder / "galaxy.db").exists():
        raise StoreError(f"{folder} holds no galaxy.db: --data names the folder of a node")
    return folder


@asynccontextmanager
async def _opened(settings: Settings, folder: Path) -> AsyncIterator[Store]:
    store = await open_store(settings.database or folder, settings.durability)
    try:
        yield store
    finally:
        await store.close()


async def _assembled(settings: Settings, folder: Path, store: Store) -> tuple[Parts, str, str]:
    """Return the node's parts, the digest of its API token, and the token itself if it is new."""
    galaxy_id = await store.setting(GALAXY_SETTING)
    if galaxy_id is None:
        galaxy_id = secrets.token_hex(8)
        await store.set_setting(GALAXY_SETTING, galaxy_id)
    token_digest, new_token = await store.setting(access.TOKEN_SETTING), ""
    if token_digest is None:
        token = settings.token or access.new_token()
        new_token = "" if settings.token else token
        token_digest = access.digest(token)
        await store.set_setting(access.TOKEN_SETTING, token_digest)
    recorded = await recovered(store)
    recorded.core.placer.policy = POLICIES[settings.placement]()
    if settings.matching == "semantic":
        recorded.core.placer.matcher = Semantic()
    core = recorded.core
    now = clock(folder, recorded.last_at, this_machine())
    core.restore(core.fleet, list(core.constellations.values()), now())
    metrics = Metrics()
    runner = Runner(core, store, now, metrics, recorded.seqs, recorded.snapshots_at)
    gateway = Gateway(runner, galaxy_id, now, metrics, chance=random.Random(), heartbeat_s=settings.heartbeat_s)
    parts = Parts(runner, store, gateway, Artifacts(folder / "artifacts", store), metrics, galaxy_id, now)
    parts.upkeep.keep = _keep(settings)
    parts.planners, parts.llm = _planners(settings), _lent_model(settings)
    return parts, token_digest, new_token


def _planners(settings: Settings) -> dict[str, Planner]:
    planners: dict[str, Planner] = {OUTLINE: Outline()}
    if settings.llm_url:
        # Only where it is wanted: the client of the provider takes more time to import than all else together.
        from .planner.llm import Llm
        from .planner.provider import LlmSettings

        llm = LlmSettings.model_validate(
            {
                "base_url": settings.llm_url,
                "key": settings.llm_key,
                "model": settings.llm_model,
                "prices": settings.llm_prices,
            }
        )
        planners[LLM] = Llm(llm, random.Random())
    return planners


def _lent_model(settings: Settings) -> AgentLlm | None:
    """Return the model that devices may use through the node for instructions."""
    if not settings.llm_url:
        return None
    price = settings.llm_prices.get(settings.llm_model)
    try:
        return AgentLlm(
            settings.llm_url,
            settings.llm_model,
            settings.llm_key.get_secret_value(),
            Price(**price) if price else None,
        )
    except (ValueError, TypeError) as exc:
        raise Unfit(f"look at GALAXY_LLM_URL, GALAXY_LLM_KEY and GALAXY_LLM_PRICES: {exc}") from None


def _keep(settings: Settings) -> Keep:
    return Keep(
        ended_s=settings.keep_ended_days * DAY_S,
        artifacts_s=settings.keep_artifacts_days * DAY_S,
        uploads_s=settings.keep_uploads_days * DAY_S,
        answers_s=settings.keep_answers_days * DAY_S,
    )


async def _run(
    settings: Settings, parts: Parts, token_digest: str, listener: socket.socket, ready: Callable[[str], None]
) -> None:
    names = frozenset({*map(str.lower, settings.allow_host), socket.gethostname().lower(), settings.host.lower()})
    app = build(parts, Rules(token_digest, names, parts.gateway.artifact_device))
    server = Server(
        uvicorn.Config(
            app,
            **protocols(parts.metrics.readers_cut.inc),
            ws_max_size=SOCKET_BYTES_MAX,
            ws_ping_interval=None,  # the protocol has its own signs of life
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
            timeout_graceful_shutdown=int(GOODBYE_WITHIN_S),
        )
    )

    def stop() -> None:
        parts.is_stopping = True
        parts.runner.stir()
        parts.gateway.close()
        server.should_exit = True

    _on_signals(stop)
    _collect_seldom()
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_certificate else "http"
    shown = f"[{host}]" if ":" in host else host
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(parts.runner.run(), name="runner")
        lag = tasks.create_task(_measure_lag(parts.metrics), name="lag")
        asking = tasks.create_task(Consultations(parts.runner, parts.planners, parts.now).run(), name="planners")
        pulse = tasks.create_task(parts.gateway.pulse.run(), name="pulse")
        upkeep = tasks.create_task(parts.upkeep.run(), name="upkeep")
        # First of all, but not waited for: while the store is in trouble, health checks must hear of it.
        url = f"{scheme}://{shown}:{port}"
        await parts.runner.tell_all([NodeStarted(at=parts.now())], lambda _: ready(url))
        await server.serve(sockets=[listener])
        for task in (upkeep, asking, pulse):
            task.cancel()
        with suppress(TimeoutError):  # the store is in trouble: what it has not taken was not promised
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                await parts.runner.durable()
        running.cancel()
        lag.cancel()


def _collect_seldom() -> None:
    """Let the cycle collector look less often: a constellation is many small objects without a cycle among them.

    With its defaults it takes a third of the time of a star, walking over all that has not ended again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        else:
            loop.add_signal_handler(number, stop)


async def _measure_lag(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))
