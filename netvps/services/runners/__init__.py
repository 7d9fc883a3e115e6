"""Use cases of runners: join, certificates, subnet leases, reports."""
