"""Farms: a job as an Open Job Description bundle; what its tasks need there: mapped paths, progress lines."""
