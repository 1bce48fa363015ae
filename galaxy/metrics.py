"""What Galaxy measures of itself, in Prometheus' terms."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

WAITS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """One set of instruments, owned by one node."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.ready_to_dispatch = Histogram(
            "galaxy_ready_to_dispatch_seconds", "From a star's being ready to its lease.", buckets=WAITS_S, registry=own
        )
        self.dispatch_to_report = Histogram(
            "galaxy_dispatch_to_report_seconds", "From a star's lease to its report.", buckets=WAITS_S, registry=own
        )
        self.batch_rows = Histogram(
            "galaxy_commit_rows", "Events that were recorded by one commit.", buckets=BATCH_ROWS, registry=own
        )
        self.commit_seconds = Histogram(
            "galaxy_commit_seconds", "How long a commit took.", buckets=WAITS_S, registry=own
        )
        self.loop_lag = Histogram(
            "galaxy_loop_lag_seconds", "How late a timer of the event loop was.", buckets=WAITS_S, registry=own
        )
        self.stage_seconds = Counter(
            "galaxy_stage_seconds", "CPU time of the runner by stage.", labelnames=("stage",), registry=own
        )
        self.events = Counter("galaxy_events", "Events recorded, by kind.", labelnames=("kind",), registry=own)
        self.stale_reports = Counter(
            "galaxy_stale_reports", "Reports of attempts that were over or not the teller's.", registry=own
        )
        self.store_failures = Counter("galaxy_store_failures", "Commits that had to be tried again.", registry=own)
        self.store_trouble = Gauge(
            "galaxy_store_trouble_seconds", "For how long nothing could be recorded; 0 when all is well.", registry=own
        )
        self.leases = Gauge("galaxy_leases", "Attempts that devices hold.", registry=own)
        self.devices = Gauge("galaxy_devices_connected", "Devices with a session.", registry=own)
        self.suspected = Gauge("galaxy_devices_suspected", "Connected devices that are suspected.", registry=own)
        self.suspicions = Counter(
            "galaxy_suspicions", "How often a connected device came to be suspected.", registry=own
        )
        self.heartbeat = Gauge("galaxy_heartbeat_seconds", "How often devices are to give signs of life.", registry=own)
        self.greetings = Gauge("galaxy_greetings", "Devices' sockets that are in their greeting.", registry=own)
        self.links_ended = Counter(
            "galaxy_links_ended",
            "Devices' sockets that ended, by what this node said.",
            labelnames=("why",),
            registry=own,
        )
        self.readers_cut = Counter(
            "galaxy_readers_cut", "Sockets cut off because their peer read nothing.", registry=own
        )
        self.constellations = Gauge("galaxy_constellations_open", "Constellations that have not ended.", registry=own)
        self.inbox = Gauge("galaxy_inbox", "Tellings that wait for the runner.", registry=own)
        self.outbox = Gauge("galaxy_outbox", "Messages to devices that are not acknowledged.", registry=own)

    def text(self) -> bytes:
        """Return all of it in Prometheus' exposition format."""
        return generate_latest(self.registry)
