"""What the newest failure of a streak said, so that its announcement and its reminders can say it too."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "streaks" ADD COLUMN "last_error" TEXT')
