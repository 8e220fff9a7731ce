"""A lane remembers until when its receiver asked to be left alone."""

STATEMENTS = """
ALTER TABLE "lanes" ADD COLUMN "held_until" TEXT;
CREATE INDEX "lanes_held" ON "lanes" ("held_until") WHERE "held_until" IS NOT NULL
"""


def up(migrator, db):
    for statement in STATEMENTS.split(";"):
        db.execute_sql(statement.strip())
