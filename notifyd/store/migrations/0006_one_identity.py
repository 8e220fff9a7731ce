"""Ids are of what they are about, and of nothing else: the value of an installation was in none, and goes."""


def up(migrator, db):
    db.execute_sql('DROP TABLE "installation"')
