"""The log's keys, its witness's, and where its files lie, in a local stack. Made on first use, never changed here."""

import json

from audit.cosignature import Cosigner
from audit.note import KeyList, SigningKey
from stack.data_dir import DataDir


def origin(data: DataDir) -> str:
    """The log's name for ever: each data folder's own."""
    return f"drawbridge.local/{data.secret_text('instance')[:12]}"


def log_environment(data: DataDir, witness_port: int) -> dict[str, str]:
    """What the processes need to know about the log. Only the integrator reads the signing keys."""
    name = origin(data)
    signing = data.secret("log-keys", lambda: SigningKey.generate(name).format() + "\n")
    witness = data.secret("witness-key", lambda: SigningKey.generate(f"{name}-witness").format() + "\n")
    verifiers = "".join(f"{key}\n" for key in KeyList.parse(signing.read_text()).verifiers)
    witness_key = str(Cosigner(SigningKey.parse(witness.read_text())).verifier)
    return {
        "LOG_ORIGIN": name,
        "LOG_SIGNING_KEYS_FILE": str(signing),
        "LOG_VERIFIER_KEYS_FILE": str(data.write("log.vkeys", verifiers)),
        "LOG_STORE": str(data.path("log-files")),
        "LOG_HEAD_STORE": str(data.path("log-head")),
        "LOG_WITNESSES": json.dumps([{"url": f"http://127.0.0.1:{witness_port}", "key": witness_key}]),
        "LOG_WITNESS_QUORUM": "1",
        "WITNESS_PORT": str(witness_port),
        "ARCHIVE_STORE": str(data.path("archive")),
        "EXPORT_FOLDER": str(data.path("exports")),
    }
