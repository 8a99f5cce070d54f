"""What was denied to the sessions of a profile, gathered: what an agent's work may need, apart from known noise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audit import canonical
from audit.event import now
from audit.models import Event
from sessions.models import AgentSession, Profile
from sessions.providers.destinations import Destination, Unclear

SINCE = timedelta(days=30)
MOST_SESSIONS, MOST_EVENTS, MOST_PLACES = 300, 5_000, 200
# Codes that a rule could change; the others are faults and attacks.
ASKABLE = frozenset({"no_rule", "method_not_allowed", "path_not_allowed"})
# What tools send on their own: measurements, crash reports, looks for newer versions.
NOISE: Mapping[str, str] = {
    "statsig.anthropic.com": "telemetry of Claude Code",
    "statsigapi.net": "telemetry (Statsig)",
    "featuregates.org": "telemetry (Statsig)",
    "sentry.io": "crash reports (Sentry)",
    "datadoghq.com": "telemetry (Datadog)",
    "datadoghq.eu": "telemetry (Datadog)",
    "segment.io": "telemetry (Segment)",
    "segment.com": "telemetry (Segment)",
    "amplitude.com": "telemetry (Amplitude)",
    "mixpanel.com": "telemetry (Mixpanel)",
    "posthog.com": "telemetry (PostHog)",
    "honeycomb.io": "telemetry (Honeycomb)",
    "google-analytics.com": "telemetry (Google)",
    "launchdarkly.com": "feature flags (LaunchDarkly)",
    "applicationinsights.azure.com": "telemetry (Microsoft)",
    "telemetry.nextjs.org": "telemetry of Next.js",
    "telemetry.vercel.com": "telemetry of Vercel",
    "telemetry.astro.build": "telemetry of Astro",
    "telemetry.gatsbyjs.com": "telemetry of Gatsby",
    "checkpoint-api.hashicorp.com": "looks for newer versions (HashiCorp)",
    "update-notifier.npmjs.com": "looks for newer versions (npm)",
    "metrics.cursor.sh": "telemetry of Cursor",
    "events.launchdarkly.com": "feature flags (LaunchDarkly)",
    "collector.github.com": "telemetry of GitHub",
    "localhost": "its own machine",
    "host.docker.internal": "its own machine",
}


@dataclass
class Place:
    """One host and port with a method and the beginning of a path; `noise` says what it is known for."""

    host: str
    port: int
    method: str
    path: str
    noise: str = ""
    count: int = 0
    sessions: set[Any] = field(default_factory=set)
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def location(self) -> str:
        """As a rule would name it; empty where no rule can."""
        scheme = {443: "https", 80: "http"}.get(self.port, "https" if self.method else "tls")
        port = "" if self.port in (443, 80) else f":{self.port}"
        text = f"{scheme}://{self.host}{port}{self.path if self.method else ('/' if scheme != 'tls' else '')}"
        try:
            Destination.of(text)
        except Unclear:
            return ""
        return text


def places(profile: Profile) -> Sequence[Place]:
    """The most frequent first. Bounded: what is older than SINCE, or beyond the newest events, is left out."""
    found: dict[tuple[str, int, str, str], Place] = {}
    for stream, at, data in _denied(profile):
        host, port = str(data.get("host", "")), data.get("port")
        if not host or not isinstance(port, int) or data.get("code") not in ASKABLE:
            continue
        method = str(data.get("method") or "")
        key = (host, _port(port, data), method, _beginning(str(data.get("path") or "/")) if method else "")
        place = found.setdefault(key, Place(*key, noise=noise_of(host)))
        place.count += 1
        place.sessions.add(stream)
        place.first_at = at if place.first_at is None else min(place.first_at, at)
        place.last_at = at if place.last_at is None else max(place.last_at, at)
    return sorted(found.values(), key=lambda one: (-one.count, one.host))[:MOST_PLACES]


def noise_of(host: str) -> str:
    """What a host is known for, by its own name or that of a domain above it."""
    labels = host.split(".")
    return next((NOISE[name] for at in range(len(labels)) if (name := ".".join(labels[at:])) in NOISE), "")


def _denied(profile: Profile) -> Iterator[tuple[Any, datetime, Mapping[str, Any]]]:
    recent = AgentSession.objects.filter(profile_version__profile=profile, requested_at__gt=now() - SINCE)
    ids = list(recent.order_by("-requested_at").values_list("pk", flat=True)[:MOST_SESSIONS])
    rows = Event.objects.filter(stream__in=ids, kind="egress.denied").order_by("-occurred_at")
    for stream, at, body in rows.values_list("stream", "occurred_at", "body")[:MOST_EVENTS]:
        yield stream, at, canonical.loads(bytes(body))["data"]


def _port(port: int, data: Mapping[str, Any]) -> int:
    """A name that was only looked up says nothing of a port: most are for HTTPS."""
    return 443 if data.get("mode") == "dns" else port


def _beginning(path: str) -> str:
    """The first two segments: /repos/acme/api/pulls is /repos/acme/."""
    parts = path.split("/")[1:]
    return "/" + "".join(f"{part}/" for part in parts[:2] if part) if len(parts) > 2 else path
