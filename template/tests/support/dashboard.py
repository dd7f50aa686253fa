"""A dashboard on AWS, whatever dashboard/hosting.toml says."""

from support.templates import ACCOUNT

from workflows import names
from workflows.dashboard import Hosting

DOMAIN = "flights.example.com"
CERTIFICATE = (
    f"arn:aws:acm:{names.REGION}:{ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012"
)
HOSTING = Hosting(DOMAIN, CERTIFICATE)
