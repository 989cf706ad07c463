"""The options of ``sts-async eks-token`` and ``sts-async console-url``."""

import argparse
import re
from collections.abc import Sequence
from typing import Any

from .arguments import Parser, option_of, whole_number
from .role_options import add_role

EKS_TOKEN, CONSOLE_URL = "eks-token", "console-url"
TOKENS = (EKS_TOKEN, CONSOLE_URL)

ABOUT_EKS = """\
Print a bearer token for the API server of an EKS cluster, as an ExecCredential: JSON that kubectl reads from its
credential plugins, such as `aws eks get-token`. The token ends after 14 minutes, or with the credentials, and kubectl
then runs the command again. It is a secret.

The region is that of the cluster. Nothing is sent, except to get the credentials.
"""

EPILOG_EKS = """\
a user in the kubeconfig file:
  users:
  - name: production
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        command: sts-async
        args: [eks-token, --cluster-name, production, --region, eu-west-1]
        interactiveMode: IfAvailable
"""

ABOUT_CONSOLE = """\
Print a URL that opens the AWS console in a browser, as the identity of the credentials. Anyone who has the URL can open
it, for 15 minutes: do not send it to logs or chats. The credentials are sent to the sign-in service of AWS.

The credentials must be those of an assumed role or of GetFederationToken. The partition of the region decides which
console is opened; without a region, it is the global console of the partition aws.
"""

EPILOG_CONSOLE = """\
examples:
  sts-async console-url --role-arn arn:aws:iam::123456789012:role/admin
  sts-async console-url --profile admin --region cn-north-1 --destination /s3/buckets
"""


def add_tokens(commands: Any, common: Parser, arguments: Sequence[str]) -> None:
    """Add the two commands to the parser. Only a command that is in *arguments* gets the options of a role."""
    token = commands.add_parser(
        EKS_TOKEN,
        help="a bearer token of an EKS cluster, for kubectl",
        description=ABOUT_EKS,
        epilog=EPILOG_EKS,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    token.add_argument(
        *("--cluster-name", "--cluster-id"),
        dest="cluster",
        required=True,
        metavar="NAME",
        help="name of the cluster; on Outposts, its id",
    )
    url = commands.add_parser(
        CONSOLE_URL,
        help="a URL that opens the AWS console in a browser",
        description=ABOUT_CONSOLE,
        epilog=EPILOG_CONSOLE,
        parents=[common],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url.add_argument(
        "--destination",
        metavar="URL",
        help="the page to open: a URL of the console, or a path such as /s3/buckets; default: the home page",
    )
    url.add_argument(
        "--issuer", metavar="URL", help="the page that users return to when their session ends; default: none"
    )
    url.add_argument(
        "--session-duration",
        type=whole_number,
        metavar="N",
        help="lifetime of the session in the console, 900 to 43,200 seconds. AWS refuses this option for chained roles "
        "and for GetFederationToken",
    )
    url.add_argument(
        "--signin-url",
        metavar="URL",
        help="URL of the federation endpoint of the sign-in service, for tests and proxies; default: that of AWS",
    )
    for name, command in ((EKS_TOKEN, token), (CONSOLE_URL, url)):
        if name in arguments:
            add_role(command)


def check(parser: Parser, options: argparse.Namespace) -> None:
    """End the process with status 2 if keys of a local STS would be sent to AWS."""
    if options.operation == CONSOLE_URL and hasattr(options, "local") and options.signin_url is None:
        parser.end("--local needs --signin-url, because the sign-in service of AWS does not know local credentials")


_OPTIONS = {"cluster": "--cluster-name", "endpoint_url": "--signin-url"}
_ARGUMENT = r"^(?:cluster|destination|issuer)\b|\b(?:session_duration|endpoint_url)\b"


def in_options(text: str) -> str:
    """Return a message about arguments with options instead: as its subject, and wherever the name is no word."""
    text = text.removesuffix(", or a timedelta")  # on the command line, all values are text
    return re.sub(_ARGUMENT, lambda found: _OPTIONS.get(found[0], option_of(found[0])), text)
