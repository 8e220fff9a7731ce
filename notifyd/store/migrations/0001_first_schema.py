"""The first schema. A frozen copy of the models as they were: never edit it, add a migration."""

from peewee import SQL, AutoField, BooleanField, CompositeKey, FloatField, IntegerField, Model, TextField


class Table(Model):
    class Meta:
        legacy_table_names = False


class Cursor(Table):
    source_id = TextField(primary_key=True)
    name = TextField()
    cursor = TextField()
    epoch = IntegerField(default=0)
    started_at = TextField()
    read_at = TextField(null=True)
    at_end = BooleanField(default=False)
    failed_at = TextField(null=True)
    error = TextField(null=True)
    failing_since = TextField(null=True)
    condition = TextField(null=True)

    class Meta:
        table_name = "cursors"


class RunRow(Table):
    source_id = TextField()
    schedule = TextField()
    run_id = TextField()
    start_at = TextField()
    start_key = TextField()
    end_at = TextField()
    end_key = TextField()
    last_read_at = TextField()
    state = TextField()
    neutral = BooleanField()
    failures = IntegerField()
    told = TextField()
    occurrence = IntegerField()
    stuck = TextField(null=True)

    class Meta:
        table_name = "runs"
        primary_key = CompositeKey("source_id", "schedule", "run_id")
        indexes = (
            (("source_id", "state", "last_read_at"), False),
            (("source_id", "state", "schedule"), False),
            (("run_id",), False),
            (("last_read_at",), False),
        )


class StreakRow(Table):
    source_id = TextField()
    schedule = TextField()
    outcomes = TextField()
    newest_start = TextField(null=True)
    number = IntegerField()
    announced = TextField(null=True, index=True)
    announced_at = TextField(null=True)
    failed_runs = IntegerField()
    since = TextField(null=True)
    failed_since_told = BooleanField()
    reminders = IntegerField()
    remind_at = TextField(null=True)
    connector_id = TextField(null=True)
    entity_type = TextField(null=True)
    tenant_id = TextField(null=True)
    schedule_id = TextField(null=True)

    class Meta:
        table_name = "streaks"
        primary_key = CompositeKey("source_id", "schedule")
        indexes = ((("source_id", "failed_since_told", "remind_at"), False),)


class Watched(Table):
    source_id = TextField()
    key = TextField()
    status = TextField()
    since = TextField()

    class Meta:
        table_name = "watched"
        primary_key = CompositeKey("source_id", "key")


class SetAside(Table):
    source_id = TextField()
    key = TextField()
    text = TextField()
    at = TextField()

    class Meta:
        table_name = "set_aside"
        indexes = ((("source_id", "id"), False),)


class EventRow(Table):
    seq = AutoField()
    id = TextField(unique=True)
    event_type = TextField()
    severity = TextField()
    title = TextField()
    message = TextField()
    connector_id = TextField(null=True)
    entity_type = TextField(null=True)
    error_type = TextField(null=True)
    tenant_id = TextField(null=True)
    schedule_id = TextField(null=True)
    run_id = TextField(null=True, index=True)
    source = TextField(null=True)
    details = TextField()
    suggested_actions = TextField()
    timestamp = TextField()
    closes_id = TextField(null=True)
    closes_type = TextField(null=True)
    found_at = TextField(index=True)
    source_id = TextField(null=True)
    schedule = TextField(null=True)
    record_key = TextField(null=True, index=True)
    condition = TextField(null=True)
    untold = BooleanField(index=True)

    class Meta:
        table_name = "events"
        indexes = ((("condition", "event_type"), False),)


class VerdictRow(Table):
    event_id = TextField()
    config_id = TextField()
    decided = TextField()
    reason = TextField()
    delivery_id = TextField(null=True)
    until = TextField(null=True)

    class Meta:
        table_name = "verdicts"
        primary_key = CompositeKey("event_id", "config_id")
        indexes = ((("delivery_id",), False),)


VerdictRow.add_index(
    SQL('CREATE INDEX IF NOT EXISTS "verdicts_held" ON "verdicts" ("until") WHERE "decided" = \'held\'')
)


class DeliveryRow(Table):
    seq = AutoField()
    id = TextField(unique=True)
    config_id = TextField()
    group_key = TextField()
    state = TextField()
    reason = TextField()
    due_at = TextField()
    count = IntegerField()
    closing = BooleanField(default=False)
    attempts = IntegerField(default=0)
    created_at = TextField()
    plan_from = IntegerField(default=0)
    first_attempt_at = TextField(null=True)
    lease = TextField(null=True)
    lease_until = TextField(null=True)
    finished_at = TextField(null=True)
    error = TextField(null=True)

    class Meta:
        table_name = "deliveries"
        indexes = (
            (("config_id", "state", "due_at"), False),
            (("config_id", "group_key", "state"), False),
            (("state", "due_at"), False),
            (("state", "finished_at"), False),
        )


DeliveryRow.add_index(
    SQL(
        'CREATE UNIQUE INDEX IF NOT EXISTS "deliveries_gathering" ON "deliveries" ("config_id", "group_key")'
        " WHERE \"state\" = 'gathering'"
    )
)


class Window(Table):
    config_id = TextField()
    group_key = TextField()
    until = TextField(index=True)

    class Meta:
        table_name = "windows"
        primary_key = CompositeKey("config_id", "group_key")


class ConfigRow(Table):
    id = TextField(primary_key=True)
    name = TextField(unique=True)
    notification_type = TextField()
    enabled = BooleanField()
    config = TextField()
    filters = TextField()
    grouping = TextField(column_name="group")
    system = BooleanField()
    provisioned = BooleanField()
    created_at = TextField()
    updated_at = TextField()
    deleted_at = TextField(null=True)

    class Meta:
        table_name = "notification_configs"


class AttemptRow(Table):
    id = AutoField()
    delivery_id = TextField(index=True)
    config_id = TextField()
    config_name = TextField()
    notification_type = TextField()
    attempt = IntegerField()
    event_id = TextField()
    event_type = TextField()
    severity = TextField()
    connector_id = TextField(null=True)
    entity_type = TextField(null=True)
    title = TextField()
    count = IntegerField()
    started_at = TextField()
    finished_at = TextField(null=True)
    duration_ms = FloatField(null=True)
    result = TextField(null=True)
    success = BooleanField(null=True)
    status_code = IntegerField(null=True)
    error = TextField(null=True)

    class Meta:
        table_name = "notification_history"
        indexes = ((("config_id", "id"), False), (("started_at",), False))


class Count(Table):
    scope = TextField()
    what = TextField()
    value = IntegerField()

    class Meta:
        table_name = "counts"
        primary_key = CompositeKey("scope", "what")


TABLES = (
    Cursor,
    RunRow,
    StreakRow,
    Watched,
    SetAside,
    EventRow,
    VerdictRow,
    DeliveryRow,
    Window,
    ConfigRow,
    AttemptRow,
    Count,
)


def up(migrator, db):
    with db.bind_ctx(TABLES):
        db.create_tables(TABLES)
