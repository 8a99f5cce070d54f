"""Whether a host is an AWS endpoint for a service and region, as far as its name says so."""

import re

_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws", ".api.amazonwebservices.com.cn")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")
# Signing names that no part of the endpoint's name holds, from botocore's models.
_ALIASES = {
    "aws-marketplace": "marketplace",
    "awsssoportal": "sso",
    "connect": "contactlens",
    "execute-api": "participant",
    "iot-jobs-data": "iot",
    "iotdata": "iot",
    "iotsecuredtunneling": "tunneling",
    "mgh": "migrationhub",
    "mobiletargeting": "pinpoint",
    "monitoring": "cloudwatch",
    "ses": "mail",
    "sso-oauth": "oidc",
}


def fits(host: str, service: str, region: str) -> bool:
    """False where the name is AWS's, and says another service or region. Other names say nothing: the rule decides."""
    suffix = next((suffix for suffix in _SUFFIXES if host.endswith(suffix)), None)
    if suffix is None:
        return True
    labels = host.removesuffix(suffix).split(".")
    regions = [label for label in labels[-2:] if _REGION.fullmatch(label)]
    return _names(labels, service.lower()) and regions in ([], [region])


def _names(labels: list[str], service: str) -> bool:
    if any(label == "s3" or label.startswith("s3-") for label in labels):
        # What stands before it is a bucket's name, which anybody may choose.
        return service.startswith("s3")
    wanted = {service.replace("-", ""), _ALIASES.get(service, service).replace("-", "")}
    return any(name in label.replace("-", "") for label in labels for name in wanted)
