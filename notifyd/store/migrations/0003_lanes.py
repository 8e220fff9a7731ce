"""What each lane remembers, what expired and whether that was told, and which end belongs to which beginning."""

from peewee import IntegerField, Model, TextField


class Table(Model):
    class Meta:
        legacy_table_names = False


class LaneRow(Table):
    config_id = TextField(primary_key=True)
    outcomes = TextField()
    opened_at = TextField(null=True)
    probe_at = TextField(null=True)
    probes = IntegerField()
    error = TextField(null=True)
    condition = TextField(null=True, index=True)
    told_since = TextField(null=True)

    class Meta:
        table_name = "lanes"


STATEMENTS = """
DROP INDEX "verdicts_held";
CREATE INDEX "verdicts_held" ON "verdicts" ("config_id", "until") WHERE "decided" = 'held';
CREATE INDEX "lanes_open" ON "lanes" ("probe_at") WHERE "probe_at" IS NOT NULL;
ALTER TABLE "deliveries" ADD COLUMN "asked_at" TEXT;
ALTER TABLE "deliveries" ADD COLUMN "missed" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "deliveries" ADD COLUMN "told_in" TEXT;
CREATE INDEX "deliveries_missed" ON "deliveries" ("config_id") WHERE "state" = 'expired' AND "told_in" IS NULL;
CREATE INDEX "deliveries_told_in" ON "deliveries" ("told_in") WHERE "told_in" IS NOT NULL;
CREATE INDEX "events_closes" ON "events" ("closes_id") WHERE "closes_id" IS NOT NULL
"""


def up(migrator, db):
    with db.bind_ctx([LaneRow]):
        db.create_tables([LaneRow])
    for statement in STATEMENTS.split(";"):
        db.execute_sql(statement.strip())
