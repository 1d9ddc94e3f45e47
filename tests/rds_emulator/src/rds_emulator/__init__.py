# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A local RDS endpoint for PostgreSQL disaster recovery; see README.md."""

from .client import Emulator, EmulatorError

__all__ = ["Emulator", "EmulatorError"]
