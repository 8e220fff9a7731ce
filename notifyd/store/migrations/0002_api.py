"""What the API needs: tokens, the audit trail, configs with secrets, and a history that is quick to search."""

from peewee import SQL, AutoField, Model, TextField


class Table(Model):
    class Meta:
        legacy_table_names = False


class TokenRow(Table):
    id = TextField(primary_key=True)
    name = TextField()
    hash = TextField(unique=True)
    permissions = TextField()
    created_at = TextField()
    expires_at = TextField(null=True)
    last_used_at = TextField(null=True)
    revoked_at = TextField(null=True)

    class Meta:
        table_name = "api_tokens"


TokenRow.add_index(
    SQL('CREATE UNIQUE INDEX IF NOT EXISTS "api_tokens_called" ON "api_tokens" ("name") WHERE "revoked_at" IS NULL')
)


class TrailRow(Table):
    id = AutoField()
    at = TextField()
    actor = TextField()
    actor_id = TextField(null=True)
    action = TextField()
    object_id = TextField(null=True)
    object_name = TextField(null=True)
    changes = TextField()

    class Meta:
        table_name = "audit"
        indexes = ((("object_id", "id"), False),)


CONFIGS = """
ALTER TABLE "notification_configs" ADD COLUMN "others" TEXT NOT NULL DEFAULT '{}';
ALTER TABLE "notification_configs" ADD COLUMN "sealed" TEXT;
ALTER TABLE "notification_configs" ADD COLUMN "version" INTEGER NOT NULL DEFAULT 1;
DROP INDEX "notification_configs_name";
CREATE UNIQUE INDEX "notification_configs_called" ON "notification_configs" ("name") WHERE "deleted_at" IS NULL
"""

HISTORY = """
DROP INDEX "notification_history_config_id_id";
CREATE INDEX "notification_history_config_id_started_at" ON "notification_history" ("config_id", "started_at");
CREATE INDEX "notification_history_connector_id_started_at" ON "notification_history" ("connector_id", "started_at");
CREATE INDEX "notification_history_severity_started_at" ON "notification_history" ("severity", "started_at");
CREATE INDEX "notification_history_failed" ON "notification_history" ("started_at") WHERE "success" = 0
"""


def up(migrator, db):
    tables = (TokenRow, TrailRow)
    with db.bind_ctx(tables):
        db.create_tables(tables)
    for statement in (*CONFIGS.split(";"), *HISTORY.split(";")):
        db.execute_sql(statement.strip())
