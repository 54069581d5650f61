"""The Dagster layer: assets, checks, sensors, jobs, run config, resources, storage. Adapters only."""
