"""Nothing here asks the hub, whatever a folder names."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
