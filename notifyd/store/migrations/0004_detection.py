"""Rows are watched beyond their end, runs have heartbeats, schedules expire, and an installation has a value.

The value makes ids differ between installations. A state DB that is at work keeps the ids that it has: its value is "".
"""

import secrets

STATEMENTS = """
ALTER TABLE "watched" ADD COLUMN "schedule" TEXT;
ALTER TABLE "watched" ADD COLUMN "run_id" TEXT;
ALTER TABLE "watched" ADD COLUMN "until" TEXT;
ALTER TABLE "watched" ADD COLUMN "started" TEXT;
ALTER TABLE "watched" ADD COLUMN "finished" TEXT;
ALTER TABLE "watched" ADD COLUMN "epoch" INTEGER NOT NULL DEFAULT 0;
UPDATE "watched" SET "run_id" = "key", "schedule" = (SELECT r."schedule" FROM "runs" r
  WHERE r."source_id" = "watched"."source_id" AND r."run_id" = "watched"."key" AND r."state" = 'open');
UPDATE "watched" SET "run_id" = NULL WHERE "schedule" IS NULL;
ALTER TABLE "runs" ADD COLUMN "beat" TEXT;
ALTER TABLE "runs" ADD COLUMN "epoch" INTEGER NOT NULL DEFAULT 0;
UPDATE "runs" SET "epoch" = COALESCE((SELECT c."epoch" FROM "cursors" c WHERE c."source_id" = "runs"."source_id"), 0);
ALTER TABLE "streaks" ADD COLUMN "touched" TEXT;
UPDATE "streaks" SET "touched" = strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z';
CREATE INDEX "streaks_source_id_touched" ON "streaks" ("source_id", "touched");
CREATE TABLE "installation" ("id" INTEGER NOT NULL PRIMARY KEY, "value" TEXT NOT NULL)
"""

AT_WORK = 'SELECT EXISTS (SELECT 1 FROM "cursors") OR EXISTS (SELECT 1 FROM "notification_configs")'


def up(migrator, db):
    for statement in STATEMENTS.split(";"):
        db.execute_sql(statement.strip())
    value = "" if db.execute_sql(AT_WORK).fetchone()[0] else secrets.token_hex(8)
    db.execute_sql('INSERT INTO "installation" ("value") VALUES (?)', [value])
