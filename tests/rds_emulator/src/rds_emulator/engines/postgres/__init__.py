# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine whose clusters are real PostgreSQL, with real streaming replication over loopback.

From the bottom up: ``guard`` (the process that owns every PostgreSQL), ``supervisor`` (our end of it), ``install``
(which PostgreSQL), ``identity`` (a copied cluster gets its own), ``sockets`` (ports, and ports that are no PostgreSQL),
``cluster`` (one server), ``standby`` (what it says of its replication), ``breaks`` (how a link ends badly),
``precheck`` (the dry run), ``engine`` (links between clusters).
"""

from .engine import PostgresEngine

__all__ = ["PostgresEngine"]
