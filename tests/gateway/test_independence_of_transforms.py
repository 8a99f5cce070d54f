"""The transforms are pure: no Django, no event loop, no SDK of AWS comes in with them."""

import subprocess
import sys

MODULES = "aws_chunks aws_hosts encodings head inflating injection known_secrets redaction refusal sigv4 sigv4_claim"


def test_nothing_heavy_is_imported():
    imports = "; ".join(f"import gateway.{module}" for module in MODULES.split())
    heavy = "[name for name in ('django', 'asyncio', 'botocore', 'boto3', 'httpx') if name in sys.modules]"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; print({heavy})"], capture_output=True, text=True
    )
    assert ran.stdout == "[]\n"
