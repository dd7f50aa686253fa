"""`python -m local_aws` is `local-aws`."""

import sys

from local_aws.cli.commands import main

sys.exit(main())
