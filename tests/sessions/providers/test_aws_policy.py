"""What may be asked of AWS, as sentences and as policies; and the deny that many sessions share."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from sessions.providers import aws_policy
from sessions.providers.aws_policy import LONGEST_INLINE, denying, entries_of, pruned, session_policy

READ = {
    "type": "aws",
    "locations": ["aws:reports/arn:aws:s3:::reports", "aws:reports/arn:aws:s3:::reports/2026/*"],
    "actions": ["s3:ListBucket", "s3:GetObject"],
}
ROLES = {"reports": "arn:aws:iam::123456789012:role/agent-reports", "other": "arn:aws:iam::123456789012:role/other"}
AT = datetime(2026, 11, 26, 19, 30, tzinfo=UTC)


NO_ACTION = "is not an action: write service:Action; a * may only end one, after three letters."
NEVER = "a session could give itself what was not approved."


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"limits": {}}, "An aws object has no field 'limits'."),
        ({"locations": []}, "locations must be a list of 1 to 20 resources."),
        ({"actions": []}, "actions must be a list of 1 to 40 actions."),
        ({"locations": ["arn:aws:s3:::x"]}, "'arn:aws:s3:::x' is not a resource: write aws:ROLE/ARN, or aws:ROLE/*."),
        ({"locations": ["aws:reports/s3"]}, "'aws:reports/s3' is not a resource: write aws:ROLE/ARN, or aws:ROLE/*."),
        ({"locations": [5]}, "5 is not a resource: write aws:ROLE/ARN, or aws:ROLE/*."),
        ({"locations": ["aws:nobody/*"]}, "There is no AWS role 'nobody' here; there is other and reports."),
        ({"locations": ["aws:reports/*", "aws:reports/*"]}, "locations names a resource twice."),
        ({"actions": ["s3:GetObject", "s3:GetObject"]}, "actions names an action twice."),
        *(
            ({"actions": [bad]}, f"{bad!r} {NO_ACTION}")
            for bad in ("*", "s3:*", "s3:Ge*", "S3:GetObject", "s3:Get*Object", "GetObject", "s3:GetObject\n")
        ),
        *(
            ({"actions": [bad]}, f"{bad} is never granted: with {bad.partition(':')[0]} {NEVER}")
            for bad in ("iam:PassRole", "sts:AssumeRole", "sts:GetFederationToken", "organizations:LeaveOrganization")
        ),
    ],
)  # fmt: skip
def test_problem_is_said_in_a_sentence(changed: dict[str, object], problem: str) -> None:
    assert list(aws_policy.problems({**READ, **changed}, ROLES)) == [problem]


def test_what_is_sound_has_none() -> None:
    assert list(aws_policy.problems(READ, ROLES)) == []
    assert list(aws_policy.problems({**READ, "type": "aws-injected", "locations": ["aws:other/*"]}, ROLES)) == []


def test_a_policy_that_aws_would_not_take_is_refused_before_anybody_approves_it() -> None:
    many = {**READ, "locations": [f"aws:reports/arn:aws:s3:::{'x' * 120}{n}/*" for n in range(20)]}
    [problem] = aws_policy.problems(many, ROLES)
    assert "and AWS takes 2,048: name fewer resources, or fewer actions." in problem


def test_the_lead_reads_role_actions_and_resources() -> None:
    assert list(aws_policy.sentences({**READ, "locations": [*READ["locations"], "aws:other/*"]}, ROLES)) == [
        "In AWS, as arn:aws:iam::123456789012:role/agent-reports: s3:GetObject and s3:ListBucket on "
        "arn:aws:s3:::reports and arn:aws:s3:::reports/2026/*.",
        "In AWS, as arn:aws:iam::123456789012:role/other: s3:GetObject and s3:ListBucket on anything that they reach.",
    ]
    [*_, last] = aws_policy.sentences({**READ, "type": "aws-injected"}, ROLES)
    assert last == "The gateway signs its requests; the agent never has the keys."


def test_the_session_policy_allows_exactly_that_and_the_probe() -> None:
    assert json.loads(session_policy([READ])) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": ["arn:aws:s3:::reports", "arn:aws:s3:::reports/2026/*"],
            },
            {"Effect": "Allow", "Action": "ec2:DescribeRegions", "Resource": "*"},
        ],
    }


def test_each_role_is_a_session_of_its_own() -> None:
    mixed = {**READ, "locations": ["aws:reports/*", "aws:other/*"]}
    assert aws_policy.by_role([mixed]) == {
        "reports": [{**READ, "locations": ["aws:reports/*"]}],
        "other": [{**READ, "locations": ["aws:other/*"]}],
    }


def test_a_deny_names_the_session_and_nobody_else() -> None:
    policy = denying(None, "AROAX:dbr_1", AT + timedelta(minutes=20), AT)
    [statement] = policy["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    assert statement["Condition"] == {"StringEquals": {"aws:userid": ["AROAX:dbr_1"]}}
    assert statement["Sid"] == "Until20261126T2015Z"


def test_denies_are_merged_until_they_are_over_and_then_forgotten() -> None:
    policy = denying(None, "A:1", AT + timedelta(minutes=5), AT)
    policy = denying(policy, "A:2", AT + timedelta(minutes=6), AT)
    policy = denying(policy, "A:3", AT + timedelta(hours=1), AT)
    assert sorted(map(len, entries_of(policy, AT).values())) == [1, 2]
    assert denying(policy, "A:2", AT + timedelta(minutes=6), AT) == policy
    later = AT + timedelta(minutes=50)
    assert entries_of(pruned(policy, later), later) == {"Until"[:0] + "20261126T2100Z": {"A:3"}}
    assert pruned(policy, AT + timedelta(hours=2)) is None


def test_an_entry_outlives_its_session_whatever_the_clocks_say() -> None:
    for minutes in range(0, 60):
        ends = AT + timedelta(minutes=minutes)
        policy = denying(None, "A:1", ends, AT)
        assert entries_of(policy, ends + timedelta(minutes=14)), minutes


def test_somebody_elses_single_session_is_understood() -> None:
    condition = {"StringEquals": {"aws:userid": "A:1"}}
    ours = {"Statement": [{"Sid": "Until20261126T2100Z", "Effect": "Deny", "Condition": condition}, {"Sid": "Other"}]}
    assert entries_of(ours, AT) == {"20261126T2100Z": {"A:1"}}


def test_a_hundred_sessions_fit() -> None:
    policy = None
    for number in range(130):
        policy = denying(policy, f"AROAEXAMPLEEXAMPLE123:dbr_{number:032x}", AT + timedelta(minutes=15), AT)
    assert len(aws_policy.compact(policy or {})) < LONGEST_INLINE
