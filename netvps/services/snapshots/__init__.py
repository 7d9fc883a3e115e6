"""Use cases of snapshots: take, change, delete, restore, clone, watch; and what runners report about them."""
