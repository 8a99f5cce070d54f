"""The page of the log itself: how far it is signed for, by whom, where it lies, and what is wrong with it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit import health, note, proofs, sequencing
from audit.cosignature import WitnessKey
from audit.errors import LogError
from audit.note import VerifierKey
from sessions.reading import noted
from sessions.views import lookup
from sessions.views.lookup import PageRequest

logger = structlog.get_logger()
UNREADABLE = (LogError, OSError, BotoCoreError, ClientError)


@dataclass(frozen=True)
class Key:
    """A key that may be believed. `fingerprint` is the SHA-256 of its verifier key as text, to compare by telephone."""

    text: str
    name: str
    fingerprint: str
    signed: bool


@require_safe
def log(request: PageRequest) -> HttpResponse:
    lookup.member(request.user)
    noted(request.user, "log", {})
    return render(request, "audit/log.html", _context())


@require_safe
def checkpoint(request: PageRequest) -> HttpResponse:
    """The signed checkpoint, byte for byte."""
    lookup.member(request.user)
    noted(request.user, "checkpoint", {})
    try:
        prover = proofs.Prover()
    except UNREADABLE as error:
        return HttpResponse(f"The checkpoint cannot be read now: {error}.", status=503, content_type="text/plain")
    if prover.tree is None:
        return HttpResponse("Nothing is signed for yet.", status=404, content_type="text/plain")
    answer = HttpResponse(prover.checkpoint, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="checkpoint"'
    return answer


def _context() -> dict[str, Any]:
    """What is published is read and held against the log's keys; where it cannot be, that is what the page says."""
    signers: set[tuple[str, bytes]] = set()
    tree, unreadable = None, ""
    try:
        prover = proofs.Prover()
        tree = prover.tree
        if tree is not None:
            signers = {(one.name, one.key_id) for one in note.parse(prover.checkpoint)[1]}
    except UNREADABLE as error:
        logger.warning("checkpoint_unreadable", error=str(error))
        unreadable = f"The checkpoint cannot be read or believed now: {error}."
    return {
        "head": sequencing.head(),
        "tree": tree,
        "unreadable": unreadable,
        "origin": settings.LOG_ORIGIN,
        "keys": list(_keys(signers)),
        "witnesses": list(_witnesses(signers)),
        "quorum": settings.LOG_WITNESS_QUORUM,
        "places": _places(),
        "found": health.problems(),
    }


def _keys(signers: set[tuple[str, bytes]]) -> Iterator[Key]:
    for text in settings.LOG_VERIFIER_KEYS:
        key = VerifierKey.parse(text)
        yield Key(text, key.name, _fingerprint(text), (key.name, key.key_id) in signers)


def _witnesses(signers: set[tuple[str, bytes]]) -> Iterator[tuple[Key, str]]:
    for one in settings.LOG_WITNESSES:
        key = WitnessKey.parse(one["key"])
        yield Key(one["key"], key.name, _fingerprint(one["key"]), (key.name, key.key_id) in signers), one["url"]


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _places() -> list[tuple[str, str]]:
    return [
        ("entries and tiles", settings.LOG_STORE),
        ("last checkpoint", settings.LOG_HEAD_STORE),
        ("archive", settings.ARCHIVE_STORE or "none"),
    ]
