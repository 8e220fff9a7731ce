"""The tables of the state DB.

Every time is text, RFC 3339 in UTC with microseconds: it sorts, and a person can read it with any
SQL client. JSON is text too. The models are never bound to a database: each query is executed on
the connection that it is given. A change here needs a migration beside it (a test compares the two).
"""

from __future__ import annotations

from peewee import (
    SQL,
    AutoField,
    BooleanField,
    CompositeKey,
    FloatField,
    IntegerField,
    Model,
    TextField,
)


class Table(Model):
    """The base of all tables: names are as written here."""

    class Meta:
        legacy_table_names = False


class Cursor(Table):
    """Where reading a source has come to. `epoch` grows when the log restarts or is restored."""

    source_id = TextField(primary_key=True)
    name = TextField()
    cursor = TextField()
    epoch = IntegerField(default=0)
    started_at = TextField()
    read_at = TextField(null=True)  # the last poll that succeeded, give or take a minute
    at_end = BooleanField(default=False)
    failed_at = TextField(null=True)
    error = TextField(null=True)
    failing_since = TextField(null=True)  # the first failure of an outage that goes on
    condition = TextField(null=True)  # the source_unreachable event, while it is open

    class Meta:
        table_name = "cursors"


class RunRow(Table):
    """A run of a schedule, while it is open and for as long as a late record may come."""

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
    beat = TextField(null=True)
    epoch = IntegerField(constraints=[SQL("DEFAULT 0")])

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
    """A schedule's memory."""

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
    touched = TextField(null=True)
    last_error = TextField(null=True)

    class Meta:
        table_name = "streaks"
        primary_key = CompositeKey("source_id", "schedule")
        indexes = (
            (("source_id", "failed_since_told", "remind_at"), False),
            (("source_id", "touched"), False),
        )


class Watched(Table):
    """A row that is looked up again: until it ends, and after that `until` a time, in case it is run again."""

    source_id = TextField()
    key = TextField()
    status = TextField()
    since = TextField()
    schedule = TextField(null=True)
    run_id = TextField(null=True)
    until = TextField(null=True)
    started = TextField(null=True)
    finished = TextField(null=True)
    epoch = IntegerField(constraints=[SQL("DEFAULT 0")])

    class Meta:
        table_name = "watched"
        primary_key = CompositeKey("source_id", "key")


class SetAside(Table):
    """A row that could not be read or folded, newest last; bounded per source."""

    source_id = TextField()
    key = TextField()
    text = TextField()
    at = TextField()

    class Meta:
        table_name = "set_aside"
        indexes = ((("source_id", "id"), False),)


class EventRow(Table):
    """Something that was found; never changed. Order comes from `seq`."""

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


EventRow.add_index(
    SQL('CREATE INDEX IF NOT EXISTS "events_closes" ON "events" ("closes_id") WHERE "closes_id" IS NOT NULL')
)


class VerdictRow(Table):
    """What was decided about one event for one config: the answer to "why was I (not) told?"."""

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
    SQL('CREATE INDEX IF NOT EXISTS "verdicts_held" ON "verdicts" ("config_id", "until") WHERE "decided" = \'held\'')
)


class DeliveryRow(Table):
    """One notification on its way to one config: the outbox."""

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
    plan_from = IntegerField(default=0)  # attempts made before a person requeued it: the retry plan begins anew
    first_attempt_at = TextField(null=True)
    lease = TextField(null=True)
    lease_until = TextField(null=True)
    finished_at = TextField(null=True)
    error = TextField(null=True)
    asked_at = TextField(null=True)  # when a person requeued it: it does not expire any more
    missed = IntegerField(constraints=[SQL("DEFAULT 0")])  # events that had expired, of which this delivery tells
    told_in = TextField(null=True)  # of one that expired: the delivery that tells of it

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
DeliveryRow.add_index(
    SQL(
        'CREATE INDEX IF NOT EXISTS "deliveries_missed" ON "deliveries" ("config_id")'
        ' WHERE "state" = \'expired\' AND "told_in" IS NULL'
    )
)
DeliveryRow.add_index(
    SQL('CREATE INDEX IF NOT EXISTS "deliveries_told_in" ON "deliveries" ("told_in") WHERE "told_in" IS NOT NULL')
)


class LaneRow(Table):
    """What the lane of a config remembers: its circuit breaker, the outage that it opened, a Retry-After."""

    config_id = TextField(primary_key=True)
    outcomes = TextField()  # the newest attempts, the oldest first: s(ent), f(ailed) or r(efused)
    opened_at = TextField(null=True)
    probe_at = TextField(null=True)
    probes = IntegerField()
    error = TextField(null=True)  # why the newest attempt failed
    condition = TextField(null=True, index=True)  # the channel_failing event, while it is open
    told_since = TextField(null=True)  # since when it failed, as that event says
    held_until = TextField(null=True)  # the receiver asked to be left alone until then

    class Meta:
        table_name = "lanes"


LaneRow.add_index(SQL('CREATE INDEX IF NOT EXISTS "lanes_open" ON "lanes" ("probe_at") WHERE "probe_at" IS NOT NULL'))
LaneRow.add_index(
    SQL('CREATE INDEX IF NOT EXISTS "lanes_held" ON "lanes" ("held_until") WHERE "held_until" IS NOT NULL')
)


class Window(Table):
    """Until when a group gathers."""

    config_id = TextField()
    group_key = TextField()
    until = TextField(index=True)

    class Meta:
        table_name = "windows"
        primary_key = CompositeKey("config_id", "group_key")


class ConfigRow(Table):
    """A notification config. Deleting one keeps its row, and with it its history and its books."""

    id = TextField(primary_key=True)
    name = TextField()
    notification_type = TextField()
    enabled = BooleanField()
    config = TextField()  # a secret reads as a mask
    filters = TextField()
    grouping = TextField(column_name="group")
    system = BooleanField()
    provisioned = BooleanField()
    created_at = TextField()
    updated_at = TextField()
    deleted_at = TextField(null=True)
    others = TextField(constraints=[SQL("DEFAULT '{}'")])  # what else the config says, as JSON
    sealed = TextField(null=True)  # `config` with its secrets, encrypted; the file has those of provisioned ones
    version = IntegerField(constraints=[SQL("DEFAULT 1")])  # grows with every change

    class Meta:
        table_name = "notification_configs"


ConfigRow.add_index(
    SQL(
        'CREATE UNIQUE INDEX IF NOT EXISTS "notification_configs_called" ON "notification_configs" ("name")'
        ' WHERE "deleted_at" IS NULL'
    )
)


class AttemptRow(Table):
    """One try at a delivery: the notification history, test sends included."""

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
        indexes = (
            (("started_at",), False),
            (("config_id", "started_at"), False),
            (("connector_id", "started_at"), False),
            (("severity", "started_at"), False),
        )


AttemptRow.add_index(
    SQL(
        'CREATE INDEX IF NOT EXISTS "notification_history_failed" ON "notification_history" ("started_at")'
        ' WHERE "success" = 0'
    )
)


class Count(Table):
    """The books, kept in the same transactions as what they count."""

    scope = TextField()  # "source:ID" or "config:ID"
    what = TextField()
    value = IntegerField()

    class Meta:
        table_name = "counts"
        primary_key = CompositeKey("scope", "what")


class TokenRow(Table):
    """A bearer token of the API, as a hash."""

    id = TextField(primary_key=True)
    name = TextField()
    hash = TextField(unique=True)
    permissions = TextField()
    created_at = TextField()
    expires_at = TextField(null=True)
    last_used_at = TextField(null=True)  # give or take a minute
    revoked_at = TextField(null=True)

    class Meta:
        table_name = "api_tokens"


TokenRow.add_index(
    SQL('CREATE UNIQUE INDEX IF NOT EXISTS "api_tokens_called" ON "api_tokens" ("name") WHERE "revoked_at" IS NULL')
)


class TrailRow(Table):
    """What a person did through the API or to its tokens: who, when, and what it changed, without secrets."""

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


TABLES: tuple[type[Table], ...] = (
    Cursor,
    RunRow,
    StreakRow,
    Watched,
    SetAside,
    EventRow,
    VerdictRow,
    DeliveryRow,
    LaneRow,
    Window,
    ConfigRow,
    AttemptRow,
    Count,
    TokenRow,
    TrailRow,
)
