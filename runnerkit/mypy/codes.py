"""The codes of the errors about runners."""

from __future__ import annotations

from typing import Final

from mypy.errorcodes import ErrorCode

NAME: Final = ErrorCode("runnerkit-name", "Check names against what is installed", "RunnerKit")
CONTRACT: Final = ErrorCode("runnerkit-contract", "Check agents, processors and formats against their use", "RunnerKit")
OPTION: Final = ErrorCode("runnerkit-option", "Check the options of parts against what makes them", "RunnerKit")
