"""Amortized guides q(latents | frames), one way of inferring per file, and tools to write one."""

from guides.check import GuideCheck, GuideMismatchError, check_guide
from guides.describe import describe_sites
from guides.site_table import SiteTable

__all__ = ["GuideCheck", "GuideMismatchError", "SiteTable", "check_guide", "describe_sites"]
