"""AWS as far as we need it: STS for sessions, IAM for denying them. Every failure is a CredentialError."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from sessions.providers.contract import CredentialError

SILENT = (ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError)
# What another try may mend; AWS's own list of transient and throttling codes (botocore/retries/standard.py).
PASSING = {
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded"),
    *("RequestThrottledException", "TooManyRequestsException", "PriorRequestNotComplete", "SlowDown"),
    *("RequestTimeout", "RequestTimeoutException", "InternalError", "InternalFailure", "ServiceUnavailable"),
    *("ServiceFailure", "ExpiredToken", "ExpiredTokenException", "ConcurrentModification"),
}
# What a session is told once it is denied (EC2's and everybody else's word).
DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
# What is said of keys that are dead by themselves.
DEAD = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "AuthFailure", "InvalidClientTokenId"}
Answer = TypeVar("Answer")
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Role:
    """One entry of AWS_ROLES. `chained`: the worker's own keys are those of a role, so a session lives an hour at most.
    `web_identity_token_file`: the worker shows a token of its platform instead of keys."""

    arn: str
    region: str
    external_id: str = ""
    chained: bool = True
    web_identity_token_file: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Role":
        return cls(**{str(name): value for name, value in entry.items()})

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]


class AwsApi:
    """For one role. The worker's own keys are found as boto3 finds them (environment, container, instance)."""

    def __init__(self, role: Role, timeout_s: float, endpoint_url: str = "") -> None:
        self.role, self._endpoint_url = role, endpoint_url or None
        self._config = Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            # One retry here; all others are the sweep's, with its own pauses.
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        self._local = threading.local()

    def assume(self, parameters: Json) -> Json:
        """AssumeRole's whole answer, or AssumeRoleWithWebIdentity's, which takes neither tags nor SourceIdentity."""

        def ask() -> Json:
            if not self.role.web_identity_token_file:
                answer: Json = self._client("sts").assume_role(RoleArn=self.role.arn, **parameters)
                return answer
            with open(self.role.web_identity_token_file) as file:
                token = file.read().strip()
            taken = {name: parameters[name] for name in ("RoleSessionName", "Policy", "DurationSeconds")}
            found: Json = self._client("sts").assume_role_with_web_identity(
                RoleArn=self.role.arn, WebIdentityToken=token, **taken
            )
            return found

        return self._call("start the session", ask)

    def role_id(self) -> str:
        """The first half of `aws:userid` of each of its sessions."""
        return self._call(
            "look at the role", lambda: str(self._client("iam").get_role(RoleName=self.role.name)["Role"]["RoleId"])
        )

    def inline_policy(self, name: str) -> dict[str, Any] | None:
        def ask() -> dict[str, Any] | None:
            iam = self._client("iam")
            try:
                found = iam.get_role_policy(RoleName=self.role.name, PolicyName=name)["PolicyDocument"]
            except iam.exceptions.NoSuchEntityException:
                return None
            document: dict[str, Any] = found if isinstance(found, dict) else json.loads(found)
            return document

        return self._call("read the role's policy", ask)

    def put_inline_policy(self, name: str, document: str) -> None:
        def ask() -> None:
            self._client("iam").put_role_policy(RoleName=self.role.name, PolicyName=name, PolicyDocument=document)

        self._call("deny the session", ask)

    def delete_inline_policy(self, name: str) -> None:
        def ask() -> None:
            iam = self._client("iam")
            try:
                iam.delete_role_policy(RoleName=self.role.name, PolicyName=name)
            except iam.exceptions.NoSuchEntityException:
                return

        self._call("clean the role's policy", ask)

    def probe(self, secret: Json) -> str:
        """What AWS answers to the session's own keys: "allowed", "denied", or "expired"."""

        def ask() -> str:
            session = boto3.Session(
                secret["access_key_id"], secret["secret_access_key"], secret["session_token"], self.role.region
            )
            try:
                session.client("ec2", config=self._config, endpoint_url=self._endpoint_url).describe_regions()
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in DENIED:
                    return "denied"
                if code in DEAD:
                    return "expired"
                raise
            return "allowed"

        return self._call("try the session's keys", ask)

    def _client(self, service: str) -> Any:
        """boto3's sessions are not safe to share between threads."""
        if not hasattr(self._local, "session"):
            self._local.session, self._local.clients = boto3.Session(region_name=self.role.region), {}
        if service not in self._local.clients:
            made = self._local.session.client(service, config=self._config, endpoint_url=self._endpoint_url)
            self._local.clients[service] = made
        return self._local.clients[service]

    def _call(self, purpose: str, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except NoCredentialsError as error:
            raise CredentialError(f"The worker has no keys of AWS: we could not {purpose}.") from error
        except SILENT as error:
            raise CredentialError(f"AWS does not answer: we could not {purpose}.", silent=True) from error
        except ClientError as error:
            raise self._refused(purpose, error) from None
        except (BotoCoreError, ResponseParserError, OSError) as error:
            raise CredentialError(f"AWS cannot be asked ({type(error).__name__}): we could not {purpose}.") from error

    def _refused(self, purpose: str, error: ClientError) -> CredentialError:
        """In our words: AWS's own repeat ARNs and policies."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in PASSING or status >= 500 or status == 429:
            return CredentialError(f"AWS is busy or failing ({code}): we could not {purpose}.")
        if code == "PackedPolicyTooLarge":
            said = "AWS packs the session policy and the tags into too little room: approve fewer resources or actions."
            return CredentialError(said, permanent=True, untouched=True)
        if code in DENIED:
            said = f"AWS does not let the worker act on the role {self.role.name} (docs/aws.md)"
            return CredentialError(f"{said}: we could not {purpose}.", permanent=True)
        return CredentialError(f"AWS refused ({code}): we could not {purpose}.", permanent=True)
