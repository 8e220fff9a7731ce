"""The state DB. peewee is imported here first, without the drivers of databases that are not SQLite."""

from notifyd.lean import without

DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi", "pymysql", "MySQLdb")

with without(*DRIVERS):
    import peewee as peewee
