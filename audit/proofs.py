"""Offline proofs of events, made from the log's published files."""

import uuid

from django.conf import settings

from audit import merkle, sequencing
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.errors import MissingError
from audit.note import VerifierKey
from audit.proof import Proof
from audit.stores import tile_store
from audit.tile_store import TileStore
from audit.tiles import CHECKPOINT, NodeReader


class Prover:
    """Proofs under one checkpoint: the published one, with the cosignatures that it has now.

    `tree` is None where nothing is published yet. Raises LogError where what is published cannot be believed.
    """

    def __init__(self, store: TileStore | None = None) -> None:
        self._store = store or tile_store(settings.LOG_STORE)
        self.tree: Checkpoint | None = None
        try:
            self.checkpoint = self._store.read(CHECKPOINT)
        except MissingError:
            return
        keys = [VerifierKey.parse(key) for key in settings.LOG_VERIFIER_KEYS]
        self.tree = open_checkpoint(self.checkpoint, settings.LOG_ORIGIN, keys).checkpoint
        self._read = NodeReader(self.tree.size, self._store.read)

    def proof(self, leaf: int | None) -> Proof | None:
        """None for a leaf that the checkpoint does not cover yet."""
        if self.tree is None or leaf is None or leaf >= self.tree.size:
            return None
        return Proof(leaf, tuple(merkle.inclusion_proof(leaf, self.tree.size, self._read)), self.checkpoint)


def proof_of(stream: uuid.UUID, seq: int) -> Proof | None:
    """The proof of one event; None until a checkpoint covers it, which takes a second or two."""
    return Prover().proof(sequencing.leaf_of(stream, seq))
