"""Whether mail waits too long, and whether automation has stopped: judged every minute, in no run.

A freshness policy looks at an asset's last materialisation, whichever day it was for: an old day that
is made anew hides that today's mail waits. These two checks hold the promise itself.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from ticket_assets.defs.partitions import DESK
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import WAREHOUSE_POOL
from ticket_assets.planning.late_mail import late_mail
from ticket_assets.storage.warehouse import WarehouseError
