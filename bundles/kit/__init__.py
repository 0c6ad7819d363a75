"""The kit: dryport for a machine without internet, as one signed file that needs Python 3.11 and nothing else."""

from bundles.kit.build import Kit, build_kit
from bundles.kit.sign import sign_kit

__all__ = ["Kit", "build_kit", "sign_kit"]
