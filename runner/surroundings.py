"""The environment of a command inside a sandbox: an allowlist of the caller's, and what makes tools find their way out.

Variables and their shapes: each tool's own documentation, named beside it.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from runner.sandbox.interface import HOME, INSIDE

KEPT = frozenset({"TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "EDITOR", "PAGER", "NO_COLOR", "FORCE_COLOR"})
KEPT_BEGINNING = ("LC_",)
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_URL, SOCKS_URL = "http://127.0.0.1:3128", "socks5h://127.0.0.1:3128"
CA_BUNDLE = INSIDE / "ca.pem"
PROXIES = {
    # curl, git, Python requests and httpx, Go: either case; curl reads http_proxy in lower case only.
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), PROXY_URL),
    **dict.fromkeys(("ALL_PROXY", "all_proxy"), SOCKS_URL),
    # The forwards are here, and nothing else is local.
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost,::1"),
    # Node 24 and later: its own fetch follows the proxy variables only with this.
    "NODE_USE_ENV_PROXY": "1",
    "npm_config_proxy": PROXY_URL,
    "npm_config_https_proxy": PROXY_URL,
    # Maven, Gradle and whatever else starts a JVM; Java knows no variables for proxies.
    "JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 -Dhttps.proxyHost=127.0.0.1 "
    "-Dhttps.proxyPort=3128 -Dhttp.nonProxyHosts=127.0.0.1|localhost",
}
BUNDLES = (
    "SSL_CERT_FILE",  # OpenSSL, Go, Python ssl, Ruby, rustls-native-certs
    "REQUESTS_CA_BUNDLE",  # Python requests
    "CURL_CA_BUNDLE",  # curl
    "GIT_SSL_CAINFO",  # git
    "NODE_EXTRA_CA_CERTS",  # Node
    "PIP_CERT",  # pip
    "AWS_CA_BUNDLE",  # AWS CLI and SDKs
    "npm_config_cafile",  # npm
    "CARGO_HTTP_CAINFO",  # cargo
    "DENO_CERT",  # Deno
    "HEX_CACERTS_PATH",  # mix
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # gRPC
)
# Tools that refuse to start without a key: the gateway puts the real one in, for the host alone.
PLACEHOLDER = "injected-by-the-drawbridge-gateway"
KEYS: Mapping[str, tuple[str, ...]] = {
    "api.anthropic.com": ("ANTHROPIC_API_KEY",),
    "api.openai.com": ("OPENAI_API_KEY",),
    "api.github.com": ("GH_TOKEN", "GITHUB_TOKEN"),
    "generativelanguage.googleapis.com": ("GEMINI_API_KEY",),
    "api.mistral.ai": ("MISTRAL_API_KEY",),
    "huggingface.co": ("HF_TOKEN",),
    "gitlab.com": ("GITLAB_TOKEN",),
}
# Any keys will do to sign with: the gateway signs anew. In AWS's own shapes, because SDKs look at them.
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "AKIADRAWBRIDGEDUMMY0", "AWS_SECRET_ACCESS_KEY": PLACEHOLDER + "-to-sign"}


def environment(
    caller: Mapping[str, str],
    session_id: str,
    injections: Sequence[tuple[str, str]],
    passed: Collection[str] = (),
    handed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """`injections`: the hosts that the gateway puts credentials in for, and how. `passed`: variables that the caller
    names. `handed`: where the credentials are that were handed over.
    """
    kept = {
        name: value
        for name, value in caller.items()
        if name in KEPT or name in passed or name.startswith(KEPT_BEGINNING)
    }
    return {
        **kept,
        "PATH": _path(caller),
        "HOME": str(HOME),
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",  # noqa: S108
        **PROXIES,
        **dict.fromkeys(BUNDLES, str(CA_BUNDLE)),
        **_keys(injections, kept),
        **(handed or {}),
        "DRAWBRIDGE_SESSION_ID": session_id,
        "DRAWBRIDGE_SANDBOX": "1",
    }


def _path(caller: Mapping[str, str]) -> str:
    """The caller's order, of those folders that can be seen inside."""
    parts = [one for one in caller.get("PATH", "").split(":") if Path(one).is_absolute() and one.startswith("/usr")]
    return ":".join(dict.fromkeys([*parts, *SYSTEM_PATH.split(":")]))


def _keys(injections: Sequence[tuple[str, str]], kept: Mapping[str, str]) -> dict[str, str]:
    names = [name for host, how in injections if how != "sigv4" for name in KEYS.get(host, ())]
    keys = dict.fromkeys(names, PLACEHOLDER)
    if any(how == "sigv4" for _, how in injections):
        keys |= AWS_KEYS
    return {name: value for name, value in keys.items() if name not in kept}
