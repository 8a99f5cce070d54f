"""AWS Secrets Manager as far as we need it. Every failure is a CredentialError whose text holds nothing that was read.

Reading makes nothing, so whatever fails there leaves all untouched.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from sessions.providers.aws_api import DENIED, PASSING, SILENT
from sessions.providers.contract import CredentialError, Json

# A slot has 64 characters at most, and it is the location.
LOCATION = re.compile(r"aws-secret:([a-z][a-z0-9_-]{0,20})/([a-z0-9][a-z0-9_-]{0,30})", re.ASCII)
CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"
SHORTEST_S = 900
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Secret:
    """One of the secrets of an account. `id` is its name or ARN; `field` that of a JSON object, if it is one."""

    id: str
    field: str = ""
    rotate: bool = False


@dataclass(frozen=True)
class Account:
    """One entry of AWS_SECRETS, by name. With `role_arn` that role is assumed for each call."""

    region: str
    secrets: Mapping[str, Secret]
    role_arn: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Account":
        secrets = {str(name): Secret(**one) for name, one in entry["secrets"].items()}
        return cls(**{**{str(name): value for name, value in entry.items()}, "secrets": secrets})


@dataclass(frozen=True)
class Version:
    """Which one was read, and since when there is it."""

    arn: str
    id: str
    since: str


@dataclass(frozen=True)
class Versions:
    """Which version is current, and which a rotation prepares; empty where there is none."""

    current: str
    pending: str

    @property
    def under_way(self) -> bool:
        """A rotation that is over leaves AWSPENDING at the current version, or nowhere (AWS's documentation)."""
        return self.pending not in ("", self.current)

    def replaced(self, version: str) -> bool:
        return self.current not in ("", version)


class SecretsApi:
    """For one account. The worker's own keys are found as boto3 finds them (environment, container, instance).

    `name` is that of our credential: CloudTrail shows it where a role is assumed.
    """

    def __init__(self, account: Account, timeout_s: float, endpoint_url: str = "") -> None:
        self.account, self._endpoint_url = account, endpoint_url or None
        self._config = Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            # One retry here; all others are the sweep's, with its own pauses.
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        self._local = threading.local()

    def read(self, secret: Secret, name: str) -> tuple[str, Version]:
        """The value, and which version it is of."""
        purpose = "read the secret"

        def ask() -> Json:
            answer: Json = self._client(name).get_secret_value(SecretId=secret.id, VersionStage=CURRENT)
            return answer

        answer = self._call(purpose, ask)
        if not all(isinstance(answer.get(one), str) for one in ("ARN", "Name", "VersionId")):
            raise CredentialError(f"AWS's answer cannot be understood: we could not {purpose}.", untouched=True)
        if not _is(secret.id, answer) or CURRENT not in answer.get("VersionStages", ()):
            said = "AWS gave another secret, or another version of it, than was asked for."
            raise CredentialError(said, permanent=True, untouched=True)
        since = answer.get("CreatedDate")
        version = Version(answer["ARN"], answer["VersionId"], since.isoformat() if isinstance(since, datetime) else "")
        return _value(secret, answer), version

    def versions(self, arn: str, name: str) -> Versions:
        purpose = "look at the secret's versions"
        answer = self._described(purpose, arn, name)
        stages = answer.get("VersionIdsToStages")
        if answer.get("ARN") != arn or not isinstance(stages, dict):
            raise CredentialError(f"AWS's answer cannot be understood: we could not {purpose}.")
        return Versions(_at(stages, CURRENT), _at(stages, PENDING))

    def since(self, secret: Secret, name: str) -> datetime:
        """When its value was changed last; the secret itself is not read."""
        purpose = "ask for the secret's age"
        answer = self._described(purpose, secret.id, name)
        times = [answer.get(each) for each in ("LastRotatedDate", "LastChangedDate", "CreatedDate")]
        found = next((each for each in times if isinstance(each, datetime)), None)
        if found is None:
            raise CredentialError(f"AWS's answer cannot be understood: we could not {purpose}.")
        return found

    def rotate(self, arn: str, name: str) -> None:
        """Tells AWS to start, by the function or the service that the secret is configured with."""
        self._call("rotate the secret", lambda: self._client(name).rotate_secret(SecretId=arn))

    def _described(self, purpose: str, id: str, name: str) -> Json:
        def ask() -> Json:
            answer: Json = self._client(name).describe_secret(SecretId=id)
            return answer

        return self._call(purpose, ask)

    def _client(self, name: str) -> Any:
        """boto3's sessions are not safe to share between threads."""
        if not hasattr(self._local, "session"):
            self._local.session = boto3.Session(region_name=self.account.region)
        if not self.account.role_arn:
            return self._made("secretsmanager")
        answer = self._made("sts").assume_role(
            RoleArn=self.account.role_arn, RoleSessionName=name, DurationSeconds=SHORTEST_S
        )
        keys = answer["Credentials"]
        return self._made(
            "secretsmanager",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    def _made(self, service: str, **keys: str) -> Any:
        return self._local.session.client(service, config=self._config, endpoint_url=self._endpoint_url, **keys)

    def _call(self, purpose: str, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except NoCredentialsError as error:
            said = f"The worker has no keys of AWS: we could not {purpose}."
            raise CredentialError(said, untouched=True) from error
        except SILENT as error:
            said = f"AWS does not answer: we could not {purpose}."
            raise CredentialError(said, silent=True, untouched=True) from error
        except ClientError as error:
            raise _refused(purpose, error) from None
        except (ResponseParserError, AttributeError, KeyError, TypeError, ValueError):
            # botocore's parsers break so on an answer of another shape than its model; what they say may repeat it.
            said = f"AWS's answer cannot be understood: we could not {purpose}."
            raise CredentialError(said, untouched=True) from None
        except BotoCoreError as error:
            said = f"AWS cannot be asked ({type(error).__name__}): we could not {purpose}."
            raise CredentialError(said, untouched=True) from None


def _is(asked: str, answer: Json) -> bool:
    """By its name, its ARN, or its ARN without the six characters that AWS adds."""
    return asked in (answer["Name"], answer["ARN"], answer["ARN"].rpartition("-")[0])


def _at(stages: Mapping[str, Any], stage: str) -> str:
    return next((version for version, its in stages.items() if stage in its), "")


def _value(secret: Secret, answer: Json) -> str:
    found = answer.get("SecretString")
    if secret.field:
        found = _field(found, secret.field)
    if not isinstance(found, str) or not found:
        wanted = f"no field {secret.field} that holds text" if secret.field else "no text"
        raise CredentialError(f"The secret {secret.id} of AWS holds {wanted}.", permanent=True, untouched=True)
    return found


def _field(text: Any, name: str) -> Any:
    try:
        return json.loads(text)[name]
    except (ValueError, TypeError, KeyError):
        return None


def _refused(purpose: str, error: ClientError) -> CredentialError:
    """In our words: AWS's own repeat ARNs and policies."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in PASSING or status >= 500 or status == 429:
        return CredentialError(f"AWS is busy or failing ({status}): we could not {purpose}.", untouched=True)
    if code in DENIED:
        said = f"AWS does not let the worker {purpose} (docs/clouds.md)."
    elif code == "ResourceNotFoundException":
        said = f"AWS has no such secret, or no current version of it: we could not {purpose}."
    else:
        said = f"AWS refused ({code if re.fullmatch('[A-Za-z]{1,60}', code) else status}): we could not {purpose}."
    return CredentialError(said, permanent=True, untouched=True)
