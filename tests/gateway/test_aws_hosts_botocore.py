"""Every endpoint that botocore knows fits its own service's signing name."""

import botocore.session
from botocore.regions import EndpointResolver

from gateway.aws_hosts import fits

REGIONS = ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1")


def test_every_endpoint_of_botocore_fits():
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    resolver = EndpointResolver(loader.load_data("endpoints"))
    misfits, seen = set(), 0
    for service in session.get_available_services():
        metadata = loader.load_service_model(service, "service-2")["metadata"]
        signing = metadata.get("signingName", metadata["endpointPrefix"])
        for region in REGIONS:
            found = resolver.construct_endpoint(metadata["endpointPrefix"], region) or {}
            seen += bool(found)
            scope = found.get("credentialScope", {}).get("region", region)
            if found and not fits(found["hostname"], signing, scope):
                misfits.add((found["hostname"], signing, scope))
    assert misfits == set()
    assert seen > 500
