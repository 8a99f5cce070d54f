"""Wake workers for rows that are due. A wake-up that is lost costs the time until the next sweep, nothing else."""

import uuid
from collections.abc import Sequence
from functools import partial

from audit.notices import sender


def mints(credential_ids: Sequence[uuid.UUID]) -> None:
    from sessions import tasks

    for credential_id in credential_ids:
        sender.submit(partial(tasks.mint.apply_async, (str(credential_id),)))


def revocations(revocation_ids: Sequence[uuid.UUID]) -> None:
    from sessions import tasks

    for revocation_id in revocation_ids:
        sender.submit(partial(tasks.revoke.apply_async, (str(revocation_id),)))
