"""Every setting of Drawbridge, read once from the environment. Nothing secret has a working default."""

import logging
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog
from celery.schedules import crontab

from webapp import environment as env
from webapp import printing

ROOT = Path(__file__).resolve().parent.parent

LOCAL_MODE = env.flag("LOCAL_MODE")
DEBUG = env.flag("DEBUG")
SECRET_KEY = env.text("SECRET_KEY")
BASE_URL = env.text("DRAWBRIDGE_URL").rstrip("/")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1")
CSRF_TRUSTED_ORIGINS = [BASE_URL]

INSTALLED_APPS = [
    "webapp.apps.WebappConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "csp",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "audit.apps.AuditConfig",
    "sessions.apps.SessionsConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "webapp.middleware.RequestLogMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "webapp.middleware.AccessMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "webapp.urls"
ASGI_APPLICATION = "webapp.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "sessions.context.chrome",
            ],
            "builtins": ["sessions.templatetags.drawbridge"],
        },
    }
]


def _database(url: str) -> dict[str, object]:
    """A Django database entry for postgresql://user:password@host:port/name."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or 5432),
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            # Nobody holds a lock for long, so that a kill never waits for long.
            "options": "-c lock_timeout=1000 -c idle_in_transaction_session_timeout=5000",
            "server_side_binding": True,
            "prepare_threshold": 3,
            "pool": {"min_size": 2, "max_size": 24, "timeout": 10},
        },
    }


DATABASES = {"default": _database(env.text("DATABASE_URL"))}
DATABASE_APP_ROLE = env.text("DATABASE_APP_ROLE", "drawbridge_app")
DATABASE_INTEGRATOR_ROLE = env.text("DATABASE_INTEGRATOR_ROLE", "drawbridge_integrator")

VALKEY_URL = env.text("VALKEY_URL")

# Credentials: where they are minted, and the keys that wrap them at rest (oldest to newest).
OPENBAO_ADDR = env.text("OPENBAO_ADDR")
OPENBAO_ROLE_ID = env.text("OPENBAO_ROLE_ID")
OPENBAO_SECRET_ID = env.text("OPENBAO_SECRET_ID")
OPENBAO_TIMEOUT_S = env.number("OPENBAO_TIMEOUT_S", 5, least=1)
ENVELOPE_KEYS = env.document("ENVELOPE_KEYS")
TARGETS = env.mapping("TARGETS")
# Break-glass: one person may kill everything alone.
KILL_EVERYTHING_ALONE = env.flag("KILL_EVERYTHING_ALONE")
# How often the switch tests itself, where a canary was set up (manage.py canary); 0 for never.
CANARY_EVERY_S = env.number("CANARY_EVERY_S", 300)
# Engines of OpenBao by the name that grants use: sessions/providers/places.py, Place.
OPENBAO_PLACES = env.mapping("OPENBAO_PLACES", {})
# Roles of AWS by the name that grants use: {"arn", "region", "external_id", "chained", "web_identity_token_file"}.
AWS_ROLES = env.mapping("AWS_ROLES", {})
# GitHub Apps by the owner of their repositories: {"app_id", "installation_id", "private_key_file", "api"}.
GITHUB_APPS = env.mapping("GITHUB_APPS", {})
GITHUB_TIMEOUT_S = env.number("GITHUB_TIMEOUT_S", 5, least=1)
# GitLab servers by name: {"api", "token_file"}.
GITLAB_SERVERS = env.mapping("GITLAB_SERVERS", {})
GITLAB_TIMEOUT_S = env.number("GITLAB_TIMEOUT_S", 5, least=1)
# Authorization servers by name: sessions/providers/oauth.py, Server.
OAUTH_SERVERS = env.mapping("OAUTH_SERVERS", {})
OAUTH_TIMEOUT_S = env.number("OAUTH_TIMEOUT_S", 5, least=1)
# Accounts of AWS with secrets to inject, by name: sessions/providers/aws_secrets_api.py, Account.
AWS_SECRETS = env.mapping("AWS_SECRETS", {})
# Service accounts of Google Cloud by name: sessions/providers/google.py, Account.
GOOGLE_ACCOUNTS = env.mapping("GOOGLE_ACCOUNTS", {})
GOOGLE_TIMEOUT_S = env.number("GOOGLE_TIMEOUT_S", 5, least=1)
# Apps of Azure by name: sessions/providers/azure.py, App.
AZURE_APPS = env.mapping("AZURE_APPS", {})
AZURE_TIMEOUT_S = env.number("AZURE_TIMEOUT_S", 5, least=1)
AWS_ENDPOINT_URL = env.text("AWS_ENDPOINT_URL", "")
AWS_TIMEOUT_S = env.number("AWS_TIMEOUT_S", 5, least=1)

# The keys that sign what gateways may pass on (oldest to newest): a list of {"key": base64 of an Ed25519 seed}.
POLICY_KEYS = env.document("POLICY_KEYS")

# The log: its name, who may be believed to have signed it, and where its files lie: a folder, or s3://bucket/prefix.
# The signing keys are read by the integrator alone.
LOG_ORIGIN = env.text("LOG_ORIGIN")
LOG_VERIFIER_KEYS = env.lines("LOG_VERIFIER_KEYS")
LOG_STORE = env.text("LOG_STORE")
LOG_HEAD_STORE = env.text("LOG_HEAD_STORE")
LOG_WITNESSES = env.document("LOG_WITNESSES", [])
LOG_WITNESS_QUORUM = env.number("LOG_WITNESS_QUORUM", 0)
S3_ENDPOINT_URL = env.text("S3_ENDPOINT_URL", "")
ARCHIVE_STORE = env.text("ARCHIVE_STORE", "")
ARCHIVE_RETAIN_DAYS = env.number("ARCHIVE_RETAIN_DAYS", 400, least=1)
LOG_RETAIN_DAYS = env.number("LOG_RETAIN_DAYS", 400, least=1)
TIMESTAMP_URL = env.text("TIMESTAMP_URL", "")
# Evidence files wait here for a day, for whoever asked for them; every web process and worker sees the same folder.
EXPORT_FOLDER = env.text("EXPORT_FOLDER")
SIEM_WEBHOOK_URL = env.text("SIEM_WEBHOOK_URL", "")
SIEM_WEBHOOK_SECRET = env.text("SIEM_WEBHOOK_SECRET", "")

ROTATION_OVERLAP_S = env.number("ROTATION_OVERLAP_S", 60, least=1)

# Celery: Valkey only wakes workers, so results and acknowledgements are of no interest.
CELERY_BROKER_URL = VALKEY_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_connect_timeout": 1,
    "socket_timeout": 30,
    "retry_on_timeout": True,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TASK_ROUTES = {
    "sessions.tasks.mint": {"queue": "issue"},
    "sessions.tasks.revoke": {"queue": "revoke"},
    "sessions.tasks.sweep": {"queue": "sweep"},
    "sessions.tasks.canary": {"queue": "log"},
    "sessions.tasks.reconcile": {"queue": "log"},
    "sessions.export_tasks.*": {"queue": "log"},
    "audit.*": {"queue": "log"},
}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "sessions.tasks.sweep", "schedule": 1.0, "options": {"expires": 2.0}},
    "exports": {"task": "sessions.export_tasks.tidy", "schedule": 60.0, "options": {"expires": 50.0}},
    "siem": {"task": "audit.siem_tasks.deliver", "schedule": 5.0, "options": {"expires": 5.0}},
    "reconcile": {"task": "sessions.tasks.reconcile", "schedule": crontab(minute="*/10"), "options": {"expires": 500}},
    "tidy-aws": {"task": "sessions.tasks.tidy_aws", "schedule": crontab(minute="*/20"), "options": {"expires": 1000}},
    "archive": {"task": "audit.tasks.archive_segments", "schedule": crontab(minute=7), "options": {"expires": 3000}},
    "archive-check": {
        "task": "audit.tasks.check_archive",
        "schedule": crontab(hour=3, minute=23),
        "options": {"expires": 36000},
    },
}
if CANARY_EVERY_S:
    CELERY_BEAT_SCHEDULE["canary"] = {
        "task": "sessions.tasks.canary",
        "schedule": float(CANARY_EVERY_S),
        "options": {"expires": CANARY_EVERY_S},
    }

# People sign in with a password and, where they set it up, TOTP.
AUTH_USER_MODEL = "agent_sessions.Person"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "inbox"
ACCOUNT_ADAPTER = "sessions.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Drawbridge"
MFA_TOTP_TOLERANCE = 1
MFA_ADAPTER = "sessions.accounts.SecondStepAdapter"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HANDLER = "sessions.guessing.Handler"
AXES_USERNAME_CALLABLE = "sessions.guessing.name_tried"
AXES_LOCKOUT_TEMPLATE = "account/locked.html"
SILENCED_SYSTEM_CHECKS = ["axes.W006"]
# allauth counts second steps and requests here. In each process by itself: it fails where a shared cache does, and
# nobody could sign in to kill while Valkey is down.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

SESSION_COOKIE_NAME = "drawbridge"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = not LOCAL_MODE
CSRF_COOKIE_SECURE = not LOCAL_MODE
CSRF_COOKIE_HTTPONLY = False
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0 if LOCAL_MODE else 31_536_000
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

STATIC_URL = "static/"
STATIC_ROOT = env.text("STATIC_ROOT", "") or None
STATICFILES_DIRS = [ROOT / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOG_LEVEL = env.text("LOG_LEVEL", "WARNING").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}
structlog.configure(
    logger_factory=printing.printer,
    wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(LOG_LEVEL)),
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(bool_as_flag=False),
    ],
    cache_logger_on_first_use=True,
)
