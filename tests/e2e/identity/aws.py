"""AWS on loopback, by moto: STS, and an ECR that checks signatures and what the role's policies permit.

Arguments: the port. Three roles: `size-reader` may get logins to ECR, in the partitions `aws` and `aws-cn`, and `stranger` may not.
"""

import datetime
import json
import sys

import moto.settings
from moto.ecr.responses import ECRResponse
from moto.iam import iam_backends
from moto.server import main
from moto.sts.responses import TokenResponse

ACCOUNT = "123456789012"
LIFETIME = datetime.timedelta(hours=12)


def make_role(partition, name, actions):
    """A role with these actions."""
    roles = iam_backends[ACCOUNT][partition]
    options = {"permissions_boundary": None, "description": "", "tags": [], "max_session_duration": "3600"}
    roles.create_role(role_name=name, assume_role_policy_document="{}", path="/", **options)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    roles.put_role_policy(name, "only", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


for partition in ("aws", "aws-cn"):
    make_role(partition, "size-reader", ["ecr:GetAuthorizationToken"])
make_role("aws", "stranger", ["s3:GetObject"])

# A web identity has no key to sign with: moto would look for a signature.
TokenResponse._authenticate_and_authorize_normal_action = lambda self, resource="*": None

# moto's logins ended in 2015.
answer_of_moto = ECRResponse.get_authorization_token


def with_lifetime(self):
    answer = answer_of_moto(self)
    for entry in answer.result["authorizationData"]:
        entry["expiresAt"] = datetime.datetime.now(datetime.timezone.utc) + LIFETIME
    return answer


ECRResponse.get_authorization_token = with_lifetime

moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
main(["--host", "127.0.0.1", "--port", sys.argv[1]])
