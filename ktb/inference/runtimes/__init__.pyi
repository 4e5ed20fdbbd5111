"""Public names of the package and their modules, imported on first use (`ktb.utils.lazy`)."""

from ktb.inference.runtimes.base import Precision as Precision
from ktb.inference.runtimes.base import Runtime as Runtime
from ktb.inference.runtimes.base import RuntimeName as RuntimeName
from ktb.inference.runtimes.select import device_for as device_for
from ktb.inference.runtimes.select import make_runtime as make_runtime
