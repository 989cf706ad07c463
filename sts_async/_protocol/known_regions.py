"""
The regions at the time of this version, for advice in messages. New regions work without a new version. The names of
regions are checked in `endpoints`.

Source: the partitions of AWS's endpoint rules.
"""

import difflib

# fmt: off
REGIONS = frozenset({
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
    "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "cn-north-1",
    "cn-northwest-1", "eu-central-1", "eu-central-2", "eu-isoe-west-1", "eu-north-1", "eu-south-1",
    "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "eusc-de-east-1", "il-central-1",
    "me-central-1", "me-south-1", "me-west-1", "mx-central-1", "sa-east-1", "sa-west-1",
    "us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-iso-east-1", "us-iso-west-1",
    "us-isob-east-1", "us-isob-west-1", "us-isof-east-1", "us-isof-south-1", "us-west-1", "us-west-2",
})
# fmt: on


def unknown(region: str) -> str:
    """Return a remark on a region that is not in the list, with the most similar region; empty for a known region."""
    if region in REGIONS or region.endswith("-global"):
        return ""
    like = difflib.get_close_matches(region, sorted(REGIONS), n=1)
    return "this version knows no such region" + (f": did you mean {like[0]}?" if like else "")
