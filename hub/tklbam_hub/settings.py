"""Django's settings: made from the environment (`environment.py`) and the state directory (`state.py`)."""

from __future__ import annotations

import importlib.util
import os

from tklbam_hub import database, environment, state

STATE = state.directory(os.environ)
SECRET_KEY = state.secret(STATE, "secret-key", os.environ)
# Apart from SECRET_KEY, which may be changed at will (that signs everybody out); with this one every key would go.
MASTER_KEY = state.secret(STATE, "master-key", os.environ)

PUBLIC = environment.public_url(os.environ)
PUBLIC_URL = PUBLIC.url
DEBUG = environment.flag(os.environ, "TKLBAM_HUB_DEBUG")
ALLOWED_HOSTS = [PUBLIC.host, *environment.LOCAL_NAMES, *environment.words(os.environ, "TKLBAM_HUB_HOSTS")]
CSRF_TRUSTED_ORIGINS = [PUBLIC.origin]
TRUSTED_PROXIES = environment.networks(os.environ, "TKLBAM_HUB_TRUSTED_PROXIES")
# Networks that webhooks may reach although they are private: a chat server inside, say.
WEBHOOK_NETWORKS = environment.networks(os.environ, "TKLBAM_HUB_WEBHOOK_NETWORKS")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "tklbam_hub.accounts",
    "tklbam_hub.storage",
    "tklbam_hub.records",
    "tklbam_hub.profiles",
    "tklbam_hub.audit",
    "tklbam_hub.throttle",
    "tklbam_hub.notices",
    "tklbam_hub.console",
]
MIDDLEWARE = [
    "tklbam_hub.middleware.ClientAddress",
    "django.middleware.security.SecurityMiddleware",
    "tklbam_hub.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "tklbam_hub.urls"
WSGI_APPLICATION = "tklbam_hub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database.settings(os.environ.get("DATABASE_URL", ""), STATE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.Account"
AUTHENTICATION_BACKENDS = ["tklbam_hub.accounts.signin.LimitedBackend"]
PASSWORD_HASHERS = [
    # The first one makes new hashes; Argon2 where its library is installed.
    *(["django.contrib.auth.hashers.Argon2PasswordHasher"] if importlib.util.find_spec("argon2") else []),
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    *([] if importlib.util.find_spec("argon2") else ["django.contrib.auth.hashers.Argon2PasswordHasher"]),
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "console:sign-in"
LOGIN_REDIRECT_URL = "console:backups"
LOGOUT_REDIRECT_URL = "console:sign-in"

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
# Static files are served from the packages themselves: nothing to collect, nothing to go stale.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 300

KEY_FAILURES = environment.number(os.environ, "TKLBAM_HUB_KEY_FAILURES", 30)

# A key packet and its form are far below this; profile archives come in as files, through the console or the command.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
PROFILE_MAX_BYTES = environment.number(os.environ, "TKLBAM_HUB_PROFILE_MAX_MB", 32) * 1024 * 1024

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
if PUBLIC.secure:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrf"
    SECURE_SSL_REDIRECT = True
    # Asked on loopback by supervisors, in the clear.
    SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    # The header is dropped by our middleware unless a trusted proxy sent it.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Entering the browsers' preload list is the domain owner's decision and can hardly be undone.
SILENCED_SYSTEM_CHECKS = ["security.W021"]

DEFAULT_FROM_EMAIL = os.environ.get("TKLBAM_HUB_EMAIL_FROM", f"tklbam-hub@{PUBLIC.host}")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
for _name, _value in environment.email(os.environ).items():
    globals()[_name] = _value

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "tklbam_hub": {"level": "INFO"},
        # Clients get their errors by name; what is wrong with the Hub itself is logged as an error.
        "django.request": {"level": "ERROR"},
        # Scanners ask for other hosts' names all day.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
